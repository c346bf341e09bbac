// A small dataset that a tiny model learns within a few iterations, made by the real binary.
#pragma once

#include <string>

namespace megalith::testing {

/// Writes FOLDER/NAME.jsonl, 60 documents of 40 ids below 90 as text ("next is the last plus
/// `stride`"), and preprocesses it to FOLDER/NAME_text_document with end-of-document marks. Fails
/// the test when that fails.
void make_tiny_corpus(const std::string& folder, const std::string& name, int stride);

}  // namespace megalith::testing

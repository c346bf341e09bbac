// The pre-tokenizer steps that cut at matches of something: Split, Digits, Punctuation and
// WhitespaceSplit of a tokenizer.json. The others are in pre_tokenizer.cpp.
#pragma once

#include <memory>
#include <string>

#include "megalith/tokenizer/pre_tokenizer.hpp"
#include "megalith/tokenizer/regex_pattern.hpp"

namespace megalith {

/// `type` is one of the four; mistakes go to the place's problems.
std::unique_ptr<PreTokenizerStep> read_split_step(const std::string& type, const JsonPlace& place);

}  // namespace megalith

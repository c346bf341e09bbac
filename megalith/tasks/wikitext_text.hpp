// A WikiText file as it was before it was tokenised into words, and how many words that were.
//
// The rules undo how the file was tokenised: separators in numbers and compounds (@-@ @,@ @.@),
// spaces around punctuation, brackets and quotes, headings, contractions. They are upstream's, in
// upstream's order, because the published counts depend on them: 245,566 words and 270,330 GPT-2
// tokens of the test file. The whole file is one text and nothing is stripped. No LibTorch; what is
// made of the counts is wikitext.hpp's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace megalith {

/// The text, well-formed UTF-8, as it was before; never longer.
std::string detokenize_wikitext(std::string text);

/// The paper's T_o: parts of the stripped text between single spaces.
int64_t count_original_tokens(std::string_view text);

}  // namespace megalith

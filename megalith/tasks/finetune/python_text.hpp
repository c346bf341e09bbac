// What Python's str methods do to a text, where a published algorithm is written in Python and its
// numbers must come out the same: white space, lower case, and the characters of words.
//
// Texts must be UTF-8. Characters newer than ICU's or Python's Unicode may differ.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace megalith::python {

/// str.isspace of one character.
bool is_space(char32_t code);
/// Matched by \w in `re`: alphanumeric (str.isalnum) or "_".
bool is_word_character(char32_t code);

/// str.split().
std::vector<std::string_view> split(std::string_view text);
/// str.lower(), with the rules that change lengths and the final sigma.
std::string lower(std::string_view text);

}  // namespace megalith::python

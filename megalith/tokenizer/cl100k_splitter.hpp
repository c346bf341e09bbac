// Cuts text into the pieces that byte pair encoding works on, as the pattern of Llama 3 and (with
// single digits) Qwen2 does:
//
//   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
//   |\s*[\r\n]+|\s+(?!\S)|\s+
//
// Written by hand, one pass, no regular expression engine; GPT-2's pattern is gpt2_splitter.hpp.
#pragma once

#include <cstddef>
#include <string_view>

#include "megalith/tokenizer/unicode.hpp"

namespace megalith {

class Cl100kSplitter {
 public:
  /// `most_digits` is the 3 of \p{N}{1,3}.
  explicit Cl100kSplitter(int most_digits);

  /// Where the piece that begins at `begin` ends. `text` is well-formed and begin < text.size().
  size_t piece_end(std::string_view text, size_t begin) const;

 private:
  size_t digits_end(std::string_view text, size_t at) const;
  size_t marks_end(std::string_view text, size_t at) const;
  size_t space_end(std::string_view text, size_t begin) const;

  unicode::ClassTable kinds_;
  int most_digits_;
};

}  // namespace megalith

// Cuts text into the pieces that byte pair encoding works on, as GPT-2's pattern does:
//
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// Written by hand, one pass, no regular expression engine. Knows nothing of vocabularies; see
// gpt2_bpe.hpp.
#pragma once

#include <cstddef>
#include <string_view>

#include "megalith/tokenizer/unicode.hpp"

namespace megalith {

class Gpt2Splitter {
 public:
  Gpt2Splitter();

  /// Where the piece that begins at `begin` ends. `text` is well-formed and begin < text.size().
  size_t piece_end(std::string_view text, size_t begin) const;

 private:
  size_t space_end(std::string_view text, size_t begin) const;

  unicode::ClassTable kinds_;
};

}  // namespace megalith

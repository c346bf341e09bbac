// Words of letters and digits in lower case, out of text that comes in pieces.
//
// A word is a longest run of code points of Unicode's letters (L) and numbers (N); lower case is
// taken one code point at a time. All else, ill-formed bytes too, stands between words. Memory
// holds one word.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "megalith/tokenizer/unicode.hpp"

namespace megalith {

class WordStream {
 public:
  using OnWord = std::function<void(std::string_view)>;
  explicit WordStream(OnWord on_word);

  /// Pieces may end anywhere, within a word or a code point.
  void feed(std::string_view bytes);
  /// The text is over: so is its last word.
  void end();

  /// Words longer than this come out cut to one byte more, so that they equal no word of this
  /// length.
  void set_longest_word(size_t bytes) { longest_ = bytes; }

 private:
  void take(std::string_view well_formed);
  void end_word();

  OnWord on_word_;
  unicode::ClassTable is_word_;
  std::unordered_map<char32_t, char32_t> lower_;
  std::string word_, pending_, repaired_;
  size_t longest_ = static_cast<size_t>(-2);
};

}  // namespace megalith

#include "megalith/tokenizer/gpt2_splitter.hpp"

namespace megalith {
namespace {

constexpr uint8_t kLetter = 1;
constexpr uint8_t kNumber = 2;
constexpr uint8_t kSpace = 4;  // none of them: everything else

/// The length of 's, 't, 'm, 'd, 're, 've or 'll at `at`, where an apostrophe stands; else 0.
size_t contraction_length(std::string_view text, size_t at) {
  const char first = at + 1 < text.size() ? text[at + 1] : '\0';
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  const char second = at + 2 < text.size() ? text[at + 2] : '\0';
  const bool two_letters = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                           (first == 'l' && second == 'l');
  return two_letters ? 3 : 0;
}

}  // namespace

Gpt2Splitter::Gpt2Splitter() {
  kinds_.add(unicode::letters(), kLetter);
  kinds_.add(unicode::numbers(), kNumber);
  kinds_.add(unicode::spaces(), kSpace);
}

size_t Gpt2Splitter::piece_end(std::string_view text, size_t begin) const {
  if (text[begin] == '\'') {
    if (const size_t length = contraction_length(text, begin)) return begin + length;
  }
  auto [code, length] = unicode::decode(text.data() + begin);
  if (code == ' ' && begin + 1 < text.size()) {
    const auto next = unicode::decode(text.data() + begin + 1);
    const uint8_t kind = kinds_[next.code];
    if (kind != kSpace) return kinds_.run_end(text, begin + 1 + next.length, kind);
  }
  const uint8_t kind = kinds_[code];
  return kind == kSpace ? space_end(text, begin) : kinds_.run_end(text, begin + length, kind);
}

/// A run of spaces leaves its last one to the word that follows, unless it is the only one.
size_t Gpt2Splitter::space_end(std::string_view text, size_t begin) const {
  size_t at = begin, last = begin;
  while (at < text.size()) {
    const auto [code, length] = unicode::decode(text.data() + at);
    if (kinds_[code] != kSpace) return last > begin ? last : at;
    last = at;
    at += length;
  }
  return at;
}

}  // namespace megalith

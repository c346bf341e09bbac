#include "megalith/tokenizer/cl100k_splitter.hpp"

namespace megalith {
namespace {

constexpr uint8_t kLetter = 1;
constexpr uint8_t kNumber = 2;
constexpr uint8_t kSpace = 4;  // none of them: everything else

constexpr std::string_view kLongS = "\u017F";  // its case folding is s

char lower(std::string_view text, size_t at) {
  const char c = at < text.size() ? text[at] : '\0';
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

/// The length of 's, 't, 'm, 'd, 're, 've or 'll, in either case, where an apostrophe stands at
/// `at`; else 0.
size_t contraction_length(std::string_view text, size_t at) {
  const char first = lower(text, at + 1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if (text.substr(at + 1).starts_with(kLongS)) return 1 + kLongS.size();
  const char second = lower(text, at + 2);
  const bool two_letters = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                           (first == 'l' && second == 'l');
  return two_letters ? 3 : 0;
}

bool is_line_end(char c) { return c == '\r' || c == '\n'; }

}  // namespace

Cl100kSplitter::Cl100kSplitter(int most_digits) : most_digits_(most_digits) {
  kinds_.add(unicode::letters(), kLetter);
  kinds_.add(unicode::numbers(), kNumber);
  kinds_.add(unicode::spaces(), kSpace);
}

size_t Cl100kSplitter::piece_end(std::string_view text, size_t begin) const {
  if (text[begin] == '\'') {
    if (const size_t length = contraction_length(text, begin)) return begin + length;
  }
  const auto [code, length] = unicode::decode(text.data() + begin);
  const uint8_t kind = kinds_[code];
  const size_t second = begin + length;
  if (kind == kLetter) return kinds_.run_end(text, second, kLetter);
  if (kind == kNumber) return digits_end(text, begin);
  const uint8_t next_kind =
      second < text.size() ? kinds_[unicode::decode(text.data() + second).code] : kSpace;
  if (!is_line_end(text[begin]) && next_kind == kLetter)
    return kinds_.run_end(text, second, kLetter);
  if (kind == 0 || (code == ' ' && next_kind == 0)) return marks_end(text, second);
  return space_end(text, begin);
}

size_t Cl100kSplitter::digits_end(std::string_view text, size_t at) const {
  for (int i = 0; i < most_digits_ && at < text.size(); ++i) {
    const auto [code, length] = unicode::decode(text.data() + at);
    if (kinds_[code] != kNumber) break;
    at += length;
  }
  return at;
}

/// A run of what is neither letter, number nor space, and the line ends after it.
size_t Cl100kSplitter::marks_end(std::string_view text, size_t at) const {
  at = kinds_.run_end(text, at, 0);
  while (at < text.size() && is_line_end(text[at])) ++at;
  return at;
}

/// A run of spaces goes up to its last line end, or leaves its last one to what follows, unless it
/// is the only one.
size_t Cl100kSplitter::space_end(std::string_view text, size_t begin) const {
  size_t at = begin, last = begin, after_line_end = begin;
  while (at < text.size()) {
    const auto [code, length] = unicode::decode(text.data() + at);
    if (kinds_[code] != kSpace) break;
    last = at;
    at += length;
    if (is_line_end(text[last])) after_line_end = at;
  }
  if (after_line_end > begin) return after_line_end;
  return at < text.size() && last > begin ? last : at;
}

}  // namespace megalith

#include "megalith/tokenizer/bert_splitter.hpp"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/utf16.h>

#include <algorithm>
#include <array>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

constexpr uint8_t kDropped = 1;
constexpr uint8_t kSpace = 2;
constexpr uint8_t kIdeograph = 4;
constexpr uint8_t kPunctuation = 8;
constexpr uint8_t kMark = 16;

constexpr char32_t kFirstWithDecomposition = 0xC0;
// The reference decomposes by Unicode 9. Decompositions and combining classes never change once
// given, so a newer ICU agrees with it on the characters of that version.
constexpr uint8_t kNormalizationVersion = 9;

bool known_to_reference(char32_t code) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(code), age);
  return age[0] > 0 && age[0] <= kNormalizationVersion;
}

}  // namespace

BertSplitter::BertSplitter(LetterCase letter_case) : letter_case_(letter_case) {
  kinds_.add(unicode::bert_dropped(), kDropped);
  kinds_.add(unicode::bert_spaces(), kSpace);
  kinds_.add(std::array{unicode::CodePointRange{' ', ' '}}, kSpace);
  kinds_.add(unicode::bert_ideographs(), kIdeograph);
  kinds_.add(unicode::bert_punctuation(), kPunctuation);
  kinds_.add(unicode::bert_marks(), kMark);
  for (const auto& range : unicode::lowercase()) {
    for (char32_t code = range.first; code <= range.last; code += range.step) {
      lower_[code] = static_cast<char32_t>(static_cast<int32_t>(code) + range.delta);
    }
  }
  UErrorCode status = U_ZERO_ERROR;
  nfd_ = unorm2_getNFDInstance(&status);
  if (U_FAILURE(status)) throw RunError("ICU has no NFD data: {}", u_errorName(status));
}

void BertSplitter::split(std::string_view text, const Visit& visit) const {
  std::u32string word;
  for (size_t at = 0; at < text.size();) {
    const auto [code, length] = unicode::decode(text.data() + at);
    at += length;
    const uint8_t kind = kinds_[code];
    if (kind & kDropped) continue;
    if (kind & kSpace) {
      finish(word, visit);
    } else if (kind & kIdeograph) {
      finish(word, visit);
      word.push_back(code);
      finish(word, visit);
    } else {
      word.push_back(code);
    }
  }
  finish(word, visit);
}

/// Hands over what stands between two spaces, and empties it.
void BertSplitter::finish(std::u32string& word, const Visit& visit) const {
  if (word.empty()) return;
  if (letter_case_ == LetterCase::kLower) fold(word);
  cut_at_punctuation(word, visit);
  word.clear();
}

void BertSplitter::fold(std::u32string& word) const {
  const bool may_decompose = std::any_of(
      word.begin(), word.end(), [](char32_t code) { return code >= kFirstWithDecomposition; });
  if (may_decompose) decompose(word);
  std::erase_if(word, [this](char32_t code) { return (kinds_[code] & kMark) != 0; });
  for (char32_t& code : word) {
    if (code < 0x80) {
      if (code >= 'A' && code <= 'Z') code += 'a' - 'A';
    } else if (const auto found = lower_.find(code); found != lower_.end()) {
      code = found->second;
    }
  }
}

/// Canonical decomposition, and the canonical order of marks.
void BertSplitter::decompose(std::u32string& word) const {
  struct Part {
    char32_t code;
    uint8_t combining_class;
  };
  std::vector<Part> parts;
  const auto add = [&](char32_t code) {
    const bool known = code >= kFirstWithDecomposition && known_to_reference(code);
    parts.push_back(
        {code, known ? unorm2_getCombiningClass(nfd_, static_cast<UChar32>(code)) : uint8_t{0}});
  };
  for (const char32_t code : word) {
    std::array<UChar, 32> units;  // the longest has 4 characters
    UErrorCode status = U_ZERO_ERROR;
    const bool known = code >= kFirstWithDecomposition && known_to_reference(code);
    const int32_t length =
        known ? unorm2_getDecomposition(nfd_, static_cast<UChar32>(code), units.data(),
                                        static_cast<int32_t>(units.size()), &status)
              : -1;
    if (length < 0) add(code);
    for (int32_t at = 0; at < length;) {
      UChar32 part = 0;
      U16_NEXT(units, at, length, part);
      add(static_cast<char32_t>(part));
    }
  }
  for (auto begin = parts.begin(); begin != parts.end();) {
    const auto is_base = [](const Part& part) { return part.combining_class == 0; };
    begin = std::find_if_not(begin, parts.end(), is_base);
    const auto end = std::find_if(begin, parts.end(), is_base);
    std::stable_sort(begin, end, [](const Part& a, const Part& b) {
      return a.combining_class < b.combining_class;
    });
    begin = end;
  }
  word.clear();
  for (const Part& part : parts) word.push_back(part.code);
}

void BertSplitter::cut_at_punctuation(std::u32string_view word, const Visit& visit) const {
  size_t begin = 0;
  for (size_t at = 0; at < word.size(); ++at) {
    if ((kinds_[word[at]] & kPunctuation) == 0) continue;
    if (at > begin) visit(word.substr(begin, at - begin));
    visit(word.substr(at, 1));
    begin = at + 1;
  }
  if (begin < word.size()) visit(word.substr(begin));
}

}  // namespace megalith

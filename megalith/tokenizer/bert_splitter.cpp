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
  split_words<false>(text,
                     [&](std::u32string_view word, std::span<const ByteRange>) { visit(word); });
}

void BertSplitter::split_with_sources(std::string_view text, const VisitWithSources& visit) const {
  split_words<true>(text, visit);
}

template <bool kWithSources>
void BertSplitter::split_words(std::string_view text, const VisitWithSources& visit) const {
  Word word;
  for (size_t at = 0; at < text.size();) {
    const auto [code, length] = unicode::decode(text.data() + at);
    const ByteRange source{at, at + length};
    at += length;
    const uint8_t kind = kinds_[code];
    if (kind & kDropped) continue;
    if (kind & (kSpace | kIdeograph)) finish(word, visit);
    if (kind & kSpace) continue;
    word.codes.push_back(code);
    if constexpr (kWithSources) word.sources.push_back(source);
    if (kind & kIdeograph) finish(word, visit);
  }
  finish(word, visit);
}

/// Hands over what stands between two spaces, and empties it.
void BertSplitter::finish(Word& word, const VisitWithSources& visit) const {
  if (word.codes.empty()) return;
  if (letter_case_ == LetterCase::kLower) fold(word);
  cut_at_punctuation(word, visit);
  word.codes.clear();
  word.sources.clear();
}

void BertSplitter::fold(Word& word) const {
  const bool may_decompose = std::any_of(word.codes.begin(), word.codes.end(), [](char32_t code) {
    return code >= kFirstWithDecomposition;
  });
  if (may_decompose) {
    decompose(word);
    drop_marks(word);
  }
  for (char32_t& code : word.codes) {
    if (code < 0x80) {
      if (code >= 'A' && code <= 'Z') code += 'a' - 'A';
    } else if (const auto found = lower_.find(code); found != lower_.end()) {
      code = found->second;
    }
  }
}

void BertSplitter::drop_marks(Word& word) const {
  const bool with_sources = !word.sources.empty();
  size_t kept = 0;
  for (size_t i = 0; i < word.codes.size(); ++i) {
    if ((kinds_[word.codes[i]] & kMark) != 0) continue;
    word.codes[kept] = word.codes[i];
    if (with_sources) word.sources[kept] = word.sources[i];
    ++kept;
  }
  word.codes.resize(kept);
  if (with_sources) word.sources.resize(kept);
}

/// Canonical decomposition, and the canonical order of marks.
void BertSplitter::decompose(Word& word) const {
  struct Part {
    char32_t code;
    uint8_t combining_class;
    bool first;  // of its character
  };
  std::vector<Part> parts;
  const auto add = [&](char32_t code, bool first) {
    const bool known = code >= kFirstWithDecomposition && known_to_reference(code);
    parts.push_back(
        {code, known ? unorm2_getCombiningClass(nfd_, static_cast<UChar32>(code)) : uint8_t{0},
         first});
  };
  for (const char32_t code : word.codes) {
    std::array<UChar, 32> units;  // the longest has 4 characters
    UErrorCode status = U_ZERO_ERROR;
    const bool known = code >= kFirstWithDecomposition && known_to_reference(code);
    const int32_t length =
        known ? unorm2_getDecomposition(nfd_, static_cast<UChar32>(code), units.data(),
                                        static_cast<int32_t>(units.size()), &status)
              : -1;
    if (length < 0) add(code, true);
    for (int32_t at = 0; at < length;) {
      const bool first = at == 0;
      UChar32 part = 0;
      U16_NEXT(units, at, length, part);
      add(static_cast<char32_t>(part), first);
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
  const std::vector<ByteRange> sources = std::move(word.sources);
  word.codes.clear();
  word.sources.clear();
  size_t source = 0;
  for (const Part& part : parts) {
    word.codes.push_back(part.code);
    if (sources.empty()) continue;
    // Characters are counted in the order that the parts have now, as the reference does.
    source += part.first && !word.sources.empty() ? 1 : 0;
    word.sources.push_back(sources[source]);
  }
}

void BertSplitter::cut_at_punctuation(const Word& word, const VisitWithSources& visit) const {
  const std::u32string_view codes = word.codes;
  const std::span<const ByteRange> sources = word.sources;
  const auto hand_over = [&](size_t begin, size_t end) {
    if (begin == end) return;
    visit(codes.substr(begin, end - begin),
          sources.empty() ? sources : sources.subspan(begin, end - begin));
  };
  size_t begin = 0;
  for (size_t at = 0; at < codes.size(); ++at) {
    if ((kinds_[codes[at]] & kPunctuation) == 0) continue;
    hand_over(begin, at);
    hand_over(at, at + 1);
    begin = at + 1;
  }
  hand_over(begin, codes.size());
}

}  // namespace megalith

// Classes of code points and lower case as the reference tokenizers see them, as sorted ranges.
//
// Tables of our own, because token ids must not depend on the Unicode version of the system's ICU,
// and because the reference (the `tokenizers` package) mixes versions: Unicode 17 for letters and
// lower case, far older ones for marks and punctuation. Made by tools/make_unicode_tables.py.
// unicode.hpp turns them into something fast.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace megalith::unicode {

struct CodePointRange {
  char32_t first, last;  // both included
};

struct NamedRanges {
  std::string_view name;
  std::span<const CodePointRange> ranges;
};

/// Every `step`-th code point from first to last has a lower-case form `delta` away.
struct CaseRange {
  char32_t first, last;
  uint32_t step;
  int32_t delta;
};

// GPT-2's splitting pattern: \p{L}, \p{N} and \s.
std::span<const CodePointRange> letters();
std::span<const CodePointRange> numbers();
std::span<const CodePointRange> spaces();

// BERT's cleaning and splitting. `bert_dropped` (control, format, private use, U+FFFD) vanish,
// `bert_spaces` become a space, `bert_ideographs` get a space on either side, `bert_marks` are the
// accents that vanish after decomposition.
std::span<const CodePointRange> bert_dropped();
std::span<const CodePointRange> bert_spaces();
std::span<const CodePointRange> bert_ideographs();
std::span<const CodePointRange> bert_punctuation();
std::span<const CodePointRange> bert_marks();

// Word characters, as the package's \w of added tokens has them, and accents of every kind.
std::span<const CodePointRange> words();
std::span<const CodePointRange> marks();

std::span<const CaseRange> lowercase();

/// The general categories by their two letters ("Lu"), without Cn and Cs; in
/// unicode_categories.cpp.
std::span<const NamedRanges> categories();

}  // namespace megalith::unicode

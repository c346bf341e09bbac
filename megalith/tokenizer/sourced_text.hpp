// A text on its way through normalization, which on demand remembers where it came from.
//
// Each step builds a new text from an old one, character by character; the sources travel along, so
// that a step need not know whether anybody asked for them. Who cuts is bert_splitter.hpp.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace megalith {

/// Bytes [begin, end) of a text.
struct ByteRange {
  size_t begin = 0, end = 0;
  bool operator==(const ByteRange&) const = default;
};

struct SourcedText {
  std::string text;
  std::vector<ByteRange> sources;  // of each byte: its character's; empty where nobody asked

  /// A well-formed text of which every character is its own source.
  static SourcedText itself(std::string text);

  /// Appends `length` bytes at `at` of `from`.
  void append(const SourcedText& from, size_t at, size_t length) {
    text.append(from.text, at, length);
    if (!from.sources.empty()) sources.insert(sources.end(), length, from.sources[at]);
  }
  /// Appends the character `code`, which came from the character at `at` of `from`.
  void append(char32_t code, const SourcedText& from, size_t at);
};

}  // namespace megalith

// UTF-8 in and out, and one byte of class flags per code point.
//
// Everything that encodes text first passes well_formed(), so that the rest may assume valid UTF-8.
// Ill-formed bytes become U+FFFD, one for each maximal subpart, as Python's errors="replace" does.
// No locale, no ICU; the classes come from unicode_tables.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "megalith/tokenizer/unicode_tables.hpp"

namespace megalith::unicode {

constexpr char32_t kReplacement = 0xFFFD;

struct Decoded {
  char32_t code;
  size_t length;
};

/// The code point at `at`, which must begin a well-formed sequence.
inline Decoded decode(const char* at) {
  const auto byte = [at](int i) {
    return static_cast<char32_t>(static_cast<unsigned char>(at[i]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
          4};
}

void append_utf8(std::string& text, char32_t code);

/// `text` itself when it is well-formed, else a repaired copy kept in `storage`.
std::string_view well_formed(std::string_view text, std::string& storage);

/// How many bytes at the end begin a sequence that more bytes could complete (0 to 3).
size_t incomplete_tail(std::string_view text);

/// A byte of flags for every code point.
class ClassTable {
 public:
  ClassTable();
  void add(std::span<const CodePointRange> ranges, uint8_t flag);
  uint8_t operator[](char32_t code) const { return flags_[code]; }
  /// Where the run of code points with just these flags ends, from `at` on.
  size_t run_end(std::string_view text, size_t at, uint8_t flags) const {
    while (at < text.size()) {
      const auto [code, length] = decode(text.data() + at);
      if (flags_[code] != flags) break;
      at += length;
    }
    return at;
  }

 private:
  std::vector<uint8_t> flags_;
};

}  // namespace megalith::unicode

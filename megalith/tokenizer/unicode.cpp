#include "megalith/tokenizer/unicode.hpp"

#include <cstring>

namespace megalith::unicode {
namespace {

constexpr size_t kNumCodePoints = 0x110000;

struct Sequence {
  size_t length;    // bytes that belong together
  bool complete;    // a whole code point
  bool open_ended;  // broke off at the end of the text: more bytes could complete it
};

/// What begins at `at`: a code point, or the maximal subpart of an ill-formed sequence
/// (Unicode standard, table 3-7 and section 3.9).
Sequence sequence_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {1, true, false};
  if (lead < 0xC2 || lead > 0xF4) return {1, false, false};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  unsigned low = 0x80, high = 0xBF;  // the second byte rules out long forms and surrogates
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (size_t i = 1; i < length; ++i, low = 0x80, high = 0xBF) {
    if (at + i == text.size()) return {i, false, true};
    if (byte(i) < low || byte(i) > high) return {i, false, false};
  }
  return {length, true, false};
}

size_t well_formed_prefix(std::string_view text) {
  constexpr uint64_t kHighBits = 0x8080808080808080ULL;
  size_t at = 0;
  while (at < text.size()) {
    uint64_t eight = 0;
    while (at + 8 <= text.size() &&
           (std::memcpy(&eight, text.data() + at, 8), (eight & kHighBits) == 0)) {
      at += 8;
    }
    if (at == text.size()) break;
    const Sequence sequence = sequence_at(text, at);
    if (!sequence.complete) break;
    at += sequence.length;
  }
  return at;
}

}  // namespace

void append_utf8(std::string& text, char32_t code) {
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xC0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xE0 | code >> 12);
    tail(6);
    tail(0);
  } else {
    text += static_cast<char>(0xF0 | code >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

std::string_view well_formed(std::string_view text, std::string& storage) {
  size_t at = well_formed_prefix(text);
  if (at == text.size()) return text;
  storage.assign(text.substr(0, at));
  while (at < text.size()) {
    append_utf8(storage, kReplacement);
    at += sequence_at(text, at).length;
    const size_t good = well_formed_prefix(text.substr(at));
    storage.append(text.substr(at, good));
    at += good;
  }
  return storage;
}

size_t incomplete_tail(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) return 0;
    if (byte < 0xC0) continue;
    return sequence_at(text, text.size() - back).open_ended ? back : 0;
  }
  return 0;
}

ClassTable::ClassTable() : flags_(kNumCodePoints, 0) {}

void ClassTable::add(std::span<const CodePointRange> ranges, uint8_t flag) {
  for (const auto& range : ranges) {
    for (char32_t code = range.first; code <= range.last; ++code) flags_[code] |= flag;
  }
}

}  // namespace megalith::unicode

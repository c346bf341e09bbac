// How byte-level vocabularies write bytes as printable characters (a space is "Ġ"), after GPT-2's
// encoder.py: printable Latin-1 stands for itself, the other 68 bytes are U+0100 and up.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace megalith {

class ByteAlphabet {
 public:
  ByteAlphabet();

  /// The character that stands for a byte.
  char32_t code(size_t byte) const { return code_of_[byte]; }
  /// The bytes that a well-formed entry stands for; nothing when it holds any other character.
  std::optional<std::string> bytes(std::string_view entry) const;

 private:
  static constexpr size_t kEnd = 0x144;  // past the last character
  std::array<char32_t, 256> code_of_{};
  std::array<int, kEnd> byte_of_;
};

}  // namespace megalith

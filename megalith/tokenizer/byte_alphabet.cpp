#include "megalith/tokenizer/byte_alphabet.hpp"

#include "megalith/tokenizer/unicode.hpp"

namespace megalith {

ByteAlphabet::ByteAlphabet() {
  byte_of_.fill(-1);
  char32_t spare = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const char32_t code = printable ? static_cast<char32_t>(byte) : spare++;
    code_of_[static_cast<size_t>(byte)] = code;
    byte_of_[code] = byte;
  }
}

std::optional<std::string> ByteAlphabet::bytes(std::string_view entry) const {
  std::string bytes;
  for (size_t at = 0; at < entry.size();) {
    const auto [code, length] = unicode::decode(entry.data() + at);
    const int byte = code < byte_of_.size() ? byte_of_[code] : -1;
    if (byte < 0) return std::nullopt;
    bytes += static_cast<char>(byte);
    at += length;
  }
  return bytes;
}

}  // namespace megalith

#include "megalith/tasks/finetune/python_text.hpp"

#include <unicode/uchar.h>
#include <unicode/ucasemap.h>

#include "megalith/core/error.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith::python {

bool is_space(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 ||
         code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
         code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool is_word_character(char32_t code) {
  if (code < 0x80) {
    return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z') ||
           (code >= '0' && code <= '9') || code == '_';
  }
  const auto character = static_cast<UChar32>(code);
  const bool is_letter = (U_GET_GC_MASK(character) & U_GC_L_MASK) != 0;
  return is_letter || u_getIntPropertyValue(character, UCHAR_NUMERIC_TYPE) != U_NT_NONE;
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> words;
  size_t begin = 0;
  const auto finish = [&](size_t end) {
    if (end > begin) words.push_back(text.substr(begin, end - begin));
  };
  for (size_t at = 0; at < text.size();) {
    const auto [code, length] = unicode::decode(text.data() + at);
    if (is_space(code)) {
      finish(at);
      begin = at + length;
    }
    at += length;
  }
  finish(text.size());
  return words;
}

std::string lower(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  UCaseMap* const map = ucasemap_open("", 0, &status);
  if (U_FAILURE(status)) throw RunError("ICU has no case mapping: {}", u_errorName(status));
  std::string small(text.size() * 3 + 1, '\0');  // no character grows more
  const int32_t size =
      ucasemap_utf8ToLower(map, small.data(), static_cast<int32_t>(small.size()), text.data(),
                           static_cast<int32_t>(text.size()), &status);
  ucasemap_close(map);
  if (U_FAILURE(status)) throw RunError("ICU could not lower-case: {}", u_errorName(status));
  small.resize(static_cast<size_t>(size));
  return small;
}

}  // namespace megalith::python

// Any bytes as a tokenised WikiText file: repaired as files are, then detokenised. The text stays
// well-formed, and no rule makes it longer.
#include <cstdint>
#include <string>

#include "megalith/tasks/wikitext_text.hpp"
#include "megalith/tokenizer/unicode.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace megalith;
  std::string storage;
  const std::string_view text =
      unicode::well_formed({reinterpret_cast<const char*>(data), size}, storage);
  if (count_original_tokens(text) < 1) __builtin_trap();
  const std::string ordinary = detokenize_wikitext(std::string(text));
  if (ordinary.size() > text.size()) __builtin_trap();
  std::string repaired;
  if (unicode::well_formed(ordinary, repaired).data() != ordinary.data()) __builtin_trap();
  return 0;
}

// Any text as a tokenizer.json: it is refused, or a tokenizer whose ids decode again.
#include <cstdint>
#include <string>

#include "megalith/core/error.hpp"
#include "megalith/tokenizer/hugging_face_tokenizer.hpp"

namespace {

const std::string kTexts[] = {
    "", "It's  12,345 \xC3\xA9t\xC3\xA9s.\n\n\t <|endoftext|>[MASK] \xE6\x9D\xB1\xE4\xBA\xAC \xFF",
    "\xE2\x96\x81the\xE2\x96\x81 a\xCC\x81\xCC\xA3 \xF0\x9F\x98\x80\r\n"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const megalith::HuggingFaceTokenizer tokenizer(
        std::string(reinterpret_cast<const char*>(data), size), "input");
    tokenizer.eod();
    tokenizer.pad();
    for (const auto& text : kTexts) {
      try {
        const auto ids = tokenizer.encode(text);
        tokenizer.decode(ids);
        tokenizer.decode_bytes(ids);
      } catch (const megalith::UsageError&) {  // a text that the vocabulary cannot express
      }
    }
  } catch (const megalith::UsageError&) {  // refused, which is the point
  }
  return 0;
}

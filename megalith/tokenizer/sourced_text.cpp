#include "megalith/tokenizer/sourced_text.hpp"

#include "megalith/tokenizer/unicode.hpp"

namespace megalith {

SourcedText SourcedText::itself(std::string text) {
  SourcedText itself{std::move(text), {}};
  itself.sources.reserve(itself.text.size());
  while (itself.sources.size() < itself.text.size()) {
    const size_t begin = itself.sources.size();
    const size_t length = unicode::decode(itself.text.data() + begin).length;
    itself.sources.insert(itself.sources.end(), length, {begin, begin + length});
  }
  return itself;
}

void SourcedText::append(char32_t code, const SourcedText& from, size_t at) {
  unicode::append_utf8(text, code);
  if (!from.sources.empty()) sources.resize(text.size(), from.sources[at]);
}

}  // namespace megalith

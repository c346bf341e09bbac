#include "megalith/tokenizer/bert_splitter.hpp"

namespace megalith {
namespace {

constexpr uint8_t kSpace = 1;
constexpr uint8_t kPunctuation = 2;

}  // namespace

BertSplitter::BertSplitter() {
  kinds_.add(unicode::spaces(), kSpace);
  kinds_.add(unicode::bert_punctuation(), kPunctuation);
}

void BertSplitter::split(std::string_view text, const Visit& visit) const {
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const auto [code, length] = unicode::decode(text.data() + at);
    const uint8_t kind = kinds_[code];
    if (kind != 0) {
      if (at > begin) visit(text.substr(begin, at - begin));
      if (kind & kPunctuation) visit(text.substr(at, length));
      begin = at + length;
    }
    at += length;
  }
  if (begin < text.size()) visit(text.substr(begin));
}

}  // namespace megalith

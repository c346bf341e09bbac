#include "megalith/tokenizer/bert_normalizer.hpp"

namespace megalith {
namespace {

constexpr uint8_t kDropped = 1;
constexpr uint8_t kSpace = 2;
constexpr uint8_t kIdeograph = 4;
constexpr uint8_t kMark = 8;

constexpr char32_t kCapitalIWithDot = 0x130;
constexpr char32_t kDotAbove = 0x307;

char32_t lower_ascii(char32_t code) {
  return code >= 'A' && code <= 'Z' ? code + ('a' - 'A') : code;
}

}  // namespace

LowerCase::LowerCase() {
  for (const auto& range : unicode::lowercase()) {
    for (char32_t code = range.first; code <= range.last; code += range.step) {
      lower_[code] = static_cast<char32_t>(static_cast<int32_t>(code) + range.delta);
    }
  }
}

void LowerCase::append(char32_t code, const SourcedText& from, size_t at, SourcedText& to) const {
  if (code < 0x80) {
    to.append(lower_ascii(code), from, at);
  } else if (code == kCapitalIWithDot) {
    to.append('i', from, at);
    to.append(kDotAbove, from, at);
  } else {
    const auto found = lower_.find(code);
    to.append(found == lower_.end() ? code : found->second, from, at);
  }
}

void LowerCase::apply(std::string& text) const {
  const SourcedText from{std::move(text), {}};
  SourcedText lower;
  lower.text.reserve(from.text.size());
  for (size_t at = 0; at < from.text.size();) {
    const auto [code, length] = unicode::decode(from.text.data() + at);
    append(code, from, at, lower);
    at += length;
  }
  text = std::move(lower.text);
}

BertNormalizer::BertNormalizer(const BertCleaning& cleaning) : cleaning_(cleaning) {
  if (cleaning.clean_text) {
    kinds_.add(unicode::bert_dropped(), kDropped);
    kinds_.add(unicode::bert_spaces(), kSpace);
  }
  if (cleaning.space_out_ideographs) kinds_.add(unicode::bert_ideographs(), kIdeograph);
  if (cleaning.strip_accents) kinds_.add(unicode::bert_marks(), kMark);
}

void BertNormalizer::apply(SourcedText& text) const {
  if (cleaning_.clean_text || cleaning_.space_out_ideographs) clean(text);
  if (cleaning_.strip_accents) nfd_.apply(text);
  if (cleaning_.strip_accents || cleaning_.lower_case) fold(text);
}

void BertNormalizer::clean(SourcedText& text) const {
  SourcedText clean;
  clean.text.reserve(text.text.size() + 16);
  for (size_t at = 0; at < text.text.size();) {
    const auto [code, length] = unicode::decode(text.text.data() + at);
    const uint8_t kind = kinds_[code];
    if (kind & kSpace) {
      clean.append(' ', text, at);
    } else if (kind & kIdeograph) {
      clean.append(' ', text, at);
      clean.append(text, at, length);
      clean.append(' ', text, at);
    } else if ((kind & kDropped) == 0) {
      clean.append(text, at, length);
    }
    at += length;
  }
  text = std::move(clean);
}

void BertNormalizer::fold(SourcedText& text) const {
  SourcedText folded;
  folded.text.reserve(text.text.size() + 16);
  for (size_t at = 0; at < text.text.size();) {
    const auto [code, length] = unicode::decode(text.text.data() + at);
    if ((kinds_[code] & kMark) == 0) {
      if (cleaning_.lower_case) {
        lower_.append(code, text, at, folded);
      } else {
        folded.append(text, at, length);
      }
    }
    at += length;
  }
  text = std::move(folded);
}

}  // namespace megalith

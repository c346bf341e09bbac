#include "megalith/tokenizer/bert_normalizer.hpp"

namespace megalith {
namespace {

constexpr uint8_t kDropped = 1;
constexpr uint8_t kSpace = 2;
constexpr uint8_t kIdeograph = 4;
constexpr uint8_t kMark = 8;

constexpr char32_t kCapitalIWithDot = 0x130;

char lower_ascii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

}  // namespace

LowerCase::LowerCase() {
  for (const auto& range : unicode::lowercase()) {
    for (char32_t code = range.first; code <= range.last; code += range.step) {
      lower_[code] = static_cast<char32_t>(static_cast<int32_t>(code) + range.delta);
    }
  }
}

void LowerCase::append(char32_t code, std::string& text) const {
  if (code < 0x80) {
    text += lower_ascii(static_cast<char>(code));
  } else if (code == kCapitalIWithDot) {
    text += "i\u0307";
  } else {
    const auto found = lower_.find(code);
    unicode::append_utf8(text, found == lower_.end() ? code : found->second);
  }
}

void LowerCase::apply(std::string& text) const {
  std::string lower;
  lower.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const auto [code, length] = unicode::decode(text.data() + at);
    append(code, lower);
    at += length;
  }
  text = std::move(lower);
}

BertNormalizer::BertNormalizer(const BertCleaning& cleaning)
    : cleaning_(cleaning), nfd_(unicode::Form::kNfd) {
  if (cleaning.clean_text) {
    kinds_.add(unicode::bert_dropped(), kDropped);
    kinds_.add(unicode::bert_spaces(), kSpace);
  }
  if (cleaning.space_out_ideographs) kinds_.add(unicode::bert_ideographs(), kIdeograph);
  if (cleaning.strip_accents) kinds_.add(unicode::bert_marks(), kMark);
}

void BertNormalizer::apply(std::string& text) const {
  if (cleaning_.clean_text || cleaning_.space_out_ideographs) clean(text);
  if (cleaning_.strip_accents) nfd_.apply(text);
  if (cleaning_.strip_accents || cleaning_.lower_case) fold(text);
}

void BertNormalizer::clean(std::string& text) const {
  std::string clean;
  clean.reserve(text.size() + 16);
  for (size_t at = 0; at < text.size();) {
    const auto [code, length] = unicode::decode(text.data() + at);
    const uint8_t kind = kinds_[code];
    if (kind & kSpace) {
      clean += ' ';
    } else if (kind & kIdeograph) {
      clean += ' ';
      clean.append(text, at, length);
      clean += ' ';
    } else if ((kind & kDropped) == 0) {
      clean.append(text, at, length);
    }
    at += length;
  }
  text = std::move(clean);
}

void BertNormalizer::fold(std::string& text) const {
  std::string folded;
  folded.reserve(text.size() + 16);
  for (size_t at = 0; at < text.size();) {
    const auto [code, length] = unicode::decode(text.data() + at);
    if ((kinds_[code] & kMark) == 0) {
      if (cleaning_.lower_case) {
        lower_.append(code, folded);
      } else {
        folded.append(text, at, length);
      }
    }
    at += length;
  }
  text = std::move(folded);
}

}  // namespace megalith

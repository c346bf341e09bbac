#include "megalith/tokenizer/unicode_forms.hpp"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>
#include <unicode/unorm2.h>
#include <unicode/utf16.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "megalith/core/error.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith::unicode {
namespace {

constexpr uint8_t kVersion = 9;
const char* const kKnownCharacters = "[:Age=9.0:]";
constexpr char32_t kFirstWithDecomposition = 0xC0;

bool is_known(char32_t code) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(code), age);
  return age[0] > 0 && age[0] <= kVersion;
}

const icu::Normalizer2* instance(Form form, UErrorCode& status) {
  switch (form) {
    case Form::kNfc:
      return icu::Normalizer2::getNFCInstance(status);
    case Form::kNfkc:
      return icu::Normalizer2::getNFKCInstance(status);
    case Form::kNfkd:
      return icu::Normalizer2::getNFKDInstance(status);
  }
  return nullptr;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

}  // namespace

struct Normalization::State {
  icu::UnicodeSet known;
  std::optional<icu::FilteredNormalizer2> normalizer;
};

Normalization::Normalization(Form form) {
  auto state = std::make_unique<State>();
  UErrorCode status = U_ZERO_ERROR;
  state->known.applyPattern(icu::UnicodeString::fromUTF8(kKnownCharacters), status);
  state->known.freeze();
  const icu::Normalizer2* normalizer = instance(form, status);
  if (U_FAILURE(status)) {
    throw RunError("ICU has no data for Unicode normalization: {}", u_errorName(status));
  }
  state->normalizer.emplace(*normalizer, state->known);
  state_ = std::move(state);
}

Normalization::~Normalization() = default;
Normalization::Normalization(Normalization&&) noexcept = default;

void Normalization::apply(std::string& text) const {
  if (is_ascii(text)) return;
  UErrorCode status = U_ZERO_ERROR;
  icu::UnicodeString normal;
  state_->normalizer->normalize(icu::UnicodeString::fromUTF8(text), normal, status);
  if (U_FAILURE(status)) throw RunError("Unicode normalization failed: {}", u_errorName(status));
  text.clear();
  normal.toUTF8String(text);
}

namespace {

struct Part {
  char32_t code;
  uint8_t combining_class;
  bool first;  // of its character
};

/// Takes the parts of characters in order and writes them in canonical order.
class CanonicalOrder {
 public:
  explicit CanonicalOrder(const SourcedText& from) : from_(from) {
    to_.text.reserve(from.text.size() + 16);
  }

  void add(const Part& part) {
    if (part.combining_class != 0) return marks_.push_back(part);
    if (!marks_.empty()) write_marks();
    write(part);
  }
  SourcedText finish() {
    write_marks();
    return std::move(to_);
  }

 private:
  void write_marks() {
    std::stable_sort(marks_.begin(), marks_.end(), [](const Part& a, const Part& b) {
      return a.combining_class < b.combining_class;
    });
    for (const Part& mark : marks_) write(mark);
    marks_.clear();
  }
  void write(const Part& part) {
    // Characters are counted in the order that the parts have now, as the reference does.
    if (part.first) {
      source_ = next_;
      next_ += decode(from_.text.data() + source_).length;
    }
    to_.append(part.code, from_, source_);
  }

  const SourcedText& from_;
  SourcedText to_;
  std::vector<Part> marks_;
  size_t source_ = 0, next_ = 0;  // places in from_
};

}  // namespace

Decomposition::Decomposition() {
  UErrorCode status = U_ZERO_ERROR;
  nfd_ = unorm2_getNFDInstance(&status);
  if (U_FAILURE(status)) throw RunError("ICU has no NFD data: {}", u_errorName(status));
}

void Decomposition::apply(SourcedText& text) const {
  if (is_ascii(text.text)) return;
  CanonicalOrder order(text);
  const auto add = [&](char32_t code, bool known, bool first) {
    order.add({code,
               known ? unorm2_getCombiningClass(nfd_, static_cast<UChar32>(code)) : uint8_t{0},
               first});
  };
  for (size_t at = 0; at < text.text.size();) {
    const auto [code, length] = decode(text.text.data() + at);
    at += length;
    const bool known = code >= kFirstWithDecomposition && is_known(code);
    std::array<UChar, 32> units;  // the longest has 4 characters
    UErrorCode status = U_ZERO_ERROR;
    const int32_t num_units =
        known ? unorm2_getDecomposition(nfd_, static_cast<UChar32>(code), units.data(),
                                        static_cast<int32_t>(units.size()), &status)
              : -1;
    if (num_units < 0) add(code, known, true);
    for (int32_t unit = 0; unit < num_units;) {
      const bool first = unit == 0;
      UChar32 part = 0;
      U16_NEXT(units, unit, num_units, part);
      add(static_cast<char32_t>(part), part >= static_cast<UChar32>(kFirstWithDecomposition),
          first);
    }
  }
  text = order.finish();
}

}  // namespace megalith::unicode

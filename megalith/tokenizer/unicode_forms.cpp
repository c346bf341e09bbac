#include "megalith/tokenizer/unicode_forms.hpp"

#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <algorithm>
#include <optional>

#include "megalith/core/error.hpp"

namespace megalith::unicode {
namespace {

const char* const kKnownCharacters = "[:Age=9.0:]";

const icu::Normalizer2* instance(Form form, UErrorCode& status) {
  switch (form) {
    case Form::kNfc:
      return icu::Normalizer2::getNFCInstance(status);
    case Form::kNfd:
      return icu::Normalizer2::getNFDInstance(status);
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

}  // namespace megalith::unicode

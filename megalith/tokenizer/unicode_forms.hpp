// Unicode's normalization forms as the reference tokenizers apply them: by Unicode 9.
//
// Decompositions, combining classes and compositions never change once given, so ICU agrees with
// that version on its characters; newer ones are left as they are, whatever the system's ICU knows.
#pragma once

#include <memory>
#include <string>

#include "megalith/tokenizer/sourced_text.hpp"

struct UNormalizer2;

namespace megalith::unicode {

enum class Form { kNfc, kNfkc, kNfkd };

class Normalization {
 public:
  /// Throws RunError when ICU has no data for the form.
  explicit Normalization(Form form);
  ~Normalization();
  Normalization(Normalization&&) noexcept;

  /// Replaces a well-formed text by its form.
  void apply(std::string& text) const;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

/// Canonical decomposition and the canonical order of marks (NFD) of a text that may have sources.
class Decomposition {
 public:
  /// Throws RunError when ICU has no data for it.
  Decomposition();
  void apply(SourcedText& text) const;

 private:
  const UNormalizer2* nfd_;
};

}  // namespace megalith::unicode

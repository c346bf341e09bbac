// Unicode's normalization forms as the reference tokenizers apply them: by Unicode 9.
//
// Decompositions, combining classes and compositions never change once given, so ICU agrees with
// that version on its characters; newer ones are left as they are, whatever the system's ICU knows.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace megalith::unicode {

enum class Form { kNfc, kNfd, kNfkc, kNfkd };

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

}  // namespace megalith::unicode

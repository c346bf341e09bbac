// A pattern of a tokenizer.json, matched over UTF-8 text: a literal text, or a regular expression
// run by ICU.
//
// The files' expressions are Oniguruma's. The two dialects agree on what such patterns use, once
// character classes are spelled out from tables of our own (unicode_tables.hpp), so that ids do not
// depend on the Unicode version of the system's ICU; constructs that the two read differently are
// refused. Scripts (\p{Han}) are ICU's. The patterns of well-known models have hand-written
// matchers: see split_step.cpp.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace megalith {

class RegexPattern {
 public:
  /// Throws UsageError saying what is wrong with the expression.
  explicit RegexPattern(const std::string& expression);
  ~RegexPattern();
  RegexPattern(RegexPattern&&) noexcept;

  using Visit = std::function<void(size_t begin, size_t end)>;
  /// Calls `visit` for every match in a well-formed text, leftmost first, without overlap.
  void each_match(std::string_view text, const Visit& visit) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The same for a literal text.
void each_occurrence(std::string_view text, std::string_view literal,
                     const RegexPattern::Visit& visit);

}  // namespace megalith

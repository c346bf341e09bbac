// The error classes that carry a message meant for a person.
//
// A mistake in flags, files or configuration is a UsageError (exit status 2); a failure while
// running is a RunError (exit status 1). Messages name the file, flag or rank, the value seen, what
// was expected, and end in what to do. A broken invariant inside the program is TORCH_CHECK or
// std::logic_error.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace megalith {

/// A mistake in flags, files or configuration: nothing has been changed yet. Exit status 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
  template <class... Args>
  explicit UsageError(fmt::format_string<Args...> format,
                      Args&&... args) requires(sizeof...(Args) > 0)
      : std::runtime_error(fmt::format(format, std::forward<Args>(args)...)) {}
};

/// A failure while running: disk full, peer lost, a loss that is not a number. Exit status 1.
struct RunError : std::runtime_error {
  using std::runtime_error::runtime_error;
  template <class... Args>
  explicit RunError(fmt::format_string<Args...> format,
                    Args&&... args) requires(sizeof...(Args) > 0)
      : std::runtime_error(fmt::format(format, std::forward<Args>(args)...)) {}
};

/// Collects mistakes so that all of them are reported at once.
class Problems {
 public:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    texts_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  /// A value of `flag` that is no value for it; `text` says all.
  void add_refused_value(const std::string& flag, const std::string& text) {
    refused_.insert(flag);
    texts_.push_back(text);
  }
  /// "--FLAG is missing: HINT", unless a value of it was refused, which left it without one.
  void add_missing(const std::string& flag, const std::string& hint) {
    if (!refused_.contains(flag)) texts_.push_back(fmt::format("--{} is missing: {}", flag, hint));
  }
  /// Runs `body`; a UsageError of it joins the others. -> whether there was none.
  template <class Body>
  bool collect(const Body& body) {
    try {
      body();
      return true;
    } catch (const UsageError& error) {
      texts_.emplace_back(error.what());
      return false;
    }
  }
  bool was_refused(const std::string& flag) const { return refused_.contains(flag); }
  bool empty() const { return texts_.empty(); }
  const std::vector<std::string>& texts() const { return texts_; }
  /// Throws one UsageError that lists everything, or returns.
  void raise_if_any() const;

 private:
  std::vector<std::string> texts_;
  std::set<std::string> refused_;  // flags
};

/// The text of errno with the path in front, for UsageError and RunError.
std::string system_error_text(const std::string& path, const char* action);

}  // namespace megalith

// One line of progress on standard error: rewritten in place on a terminal, plain lines elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace megalith::cli {

class ProgressLine {
 public:
  ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  /// Clears the line.
  ~ProgressLine();

  bool on_terminal() const { return on_terminal_; }
  /// On a terminal: true when the line was not rewritten in the last fifth of a second.
  bool due() const;
  /// Rewrites the line, cut to the terminal's width.
  void show(const std::string& text);
  /// A line that stays.
  void print(const std::string& text);

 private:
  void clear();
  bool on_terminal_ = false, shown_ = false;
  std::chrono::steady_clock::time_point last_shown_{};
};

/// "45 s", "12 min", "3 h 20 min".
std::string duration_text(double seconds);

/// How far rows are: on a terminal one line that is rewritten, elsewhere a line at every tenth and
/// every minute.
class RowProgress {
 public:
  /// "evaluated 10 of 100 rows, 10%, 45 s left".
  RowProgress(std::string verb, std::string unit, bool silent);
  void tell(int64_t done, int64_t all);

 private:
  std::string verb_, unit_;
  bool silent_;
  ProgressLine line_;
  int64_t tenth_ = 0;
  std::chrono::steady_clock::time_point start_, last_log_;
};

}  // namespace megalith::cli

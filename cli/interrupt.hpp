// Turns SIGINT, SIGTERM and SIGHUP into a flag that long work looks at, while it lives.
//
// A second signal of the same kind ends the program at once. One at a time in a process, made by
// its first thread.
#pragma once

#include <atomic>

namespace megalith::cli {

class InterruptFlag {
 public:
  /// When the first signal comes, `notice` goes to standard error as a line, unless it is empty.
  explicit InterruptFlag(const char* notice = "");
  InterruptFlag(const InterruptFlag&) = delete;
  InterruptFlag& operator=(const InterruptFlag&) = delete;
  ~InterruptFlag();

  const std::atomic<bool>& raised() const;
};

}  // namespace megalith::cli

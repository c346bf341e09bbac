// A real process of a test: the megalith binary or a small helper, with its output caught in files.
//
// For end-to-end tests that look from outside, as a shell would. Every wait has a limit, and a test
// that ends early takes the process and its group with it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace megalith::testing {

using Words = std::vector<std::string>;

/// `words` and then `more`.
Words operator+(Words words, const Words& more);
/// The words of `text`, cut at spaces.
Words cut(const std::string& text);

struct ProcessResult {
  int status = -1;  // exit status; 128 + signal when a signal ended it; -1 when it had to be killed
  std::string out, err;
};

struct ProcessOptions {
  std::string input = {};  // standard input; ends at once when empty
  std::vector<std::pair<std::string, std::string>> environment = {};  // on top of the test's own
};

class Process {
 public:
  /// Starts words[0] with these words, in a process group of its own.
  explicit Process(const Words& words, const ProcessOptions& options = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  /// To the process alone, not to its group.
  void send(int signal) const;
  /// Waits for the end; kills the process (and says so in `err`) after `seconds`.
  ProcessResult wait(double seconds = 60);
  /// Standard output so far.
  std::string output() const;
  /// Waits until standard output holds `text`; false after `seconds` or when the process has ended.
  bool wait_for_output(const std::string& text, double seconds = 20);

 private:
  bool has_ended();

  std::filesystem::path folder_;
  pid_t pid_ = -1;
  int wait_status_ = 0;
  bool is_reaped_ = false;
};

/// Process(...).wait() in one call.
ProcessResult run_process(const Words& words, const ProcessOptions& options = {},
                          double seconds = 60);

}  // namespace megalith::testing

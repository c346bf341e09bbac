// Ranks as separate processes, started by hand: each may start late, be stopped or be killed alone.
//
// For end-to-end tests of what happens without a launcher that would end the others. A rank that is
// stopped at the end of a test is killed with it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "support/process.hpp"

namespace megalith::testing {

class RankGroup {
 public:
  /// Picks a port; starts nothing.
  explicit RankGroup(int64_t world_size);

  /// Starts one rank.
  void start(int64_t rank, const std::vector<std::string>& words, const std::string& input = "");
  void start_all(const std::vector<std::string>& words);

  Process& rank(int64_t number) { return *ranks_.at(static_cast<size_t>(number)); }
  int port() const { return port_; }

 private:
  std::vector<std::unique_ptr<Process>> ranks_;
  int port_;
};

/// A port that the system picked and nobody listens on.
int free_port();
/// Whether something accepts connections on this port of the loopback device.
bool is_listened_on(int port);

/// The process of a rank that megalith launch (or another parent) has started; 0 when there is
/// none.
pid_t rank_process(pid_t parent, int64_t rank);
/// True when the process runs or is stopped; a zombie that nobody has reaped yet does not.
bool is_running(pid_t pid);
bool all_end_within(const std::vector<pid_t>& pids, double seconds);

}  // namespace megalith::testing

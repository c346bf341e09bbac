// Starts several copies of a program on this machine, relays their output, ends them together.
//
// What the copies are and what their environment says is cli/launch.cpp's business. Promises:
// output lines of different ranks never mix within a line; a signal reaches every rank once; when
// one rank fails the others end within the grace period; no rank outlives this process, however it
// dies.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace megalith::cli {

enum class PrefixMode { kAuto, kAlways, kNever };

struct RankProcess {
  std::vector<std::string> words;  // argv; words[0] is the name shown in process lists
  std::vector<std::pair<std::string, std::string>> environment;  // set on top of this process's own
  std::vector<int> inherited_fds;  // handed over: open across exec there, closed here
};

struct RankProcessesOptions {
  std::string program;  // path of the executable
  std::vector<RankProcess> ranks;
  std::vector<std::string> removed_variables;  // taken out of the environment of every rank
  double grace_seconds = 5;                    // between SIGTERM and SIGKILL once a rank has failed
  PrefixMode prefix = PrefixMode::kAuto;
  bool batch_scheduling = true;  // ranks run under SCHED_BATCH
};

/// Runs all ranks to their end. Standard input goes to rank 0 unless it is a terminal. Returns 0,
/// or the exit status of the rank that failed first (128 + signal when a signal ended it). Must be
/// called from the main thread, before any other thread exists. Throws RunError when a process
/// cannot be started; none is left then.
int run_rank_processes(const RankProcessesOptions& options);

}  // namespace megalith::cli

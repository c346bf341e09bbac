// Which rank this process is, read from what its launcher left in the environment.
//
// Understands torchrun, Open MPI, Slurm's srun and `megalith launch`, and plain RANK/WORLD_SIZE set
// by hand. Starts nothing and opens no socket: cli/launch.cpp starts ranks, process_groups joins
// them. The environment comes in as a function, so that a test is a map. This is the library's only
// reader of the environment. Promise: the same variables give the same answer, or a UsageError
// naming one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace megalith {

enum class Launcher { kNone, kByHand, kTorchrun, kOpenMpi, kSlurm, kMegalith };

/// "none", "RANK and WORLD_SIZE set by hand", "torchrun", "Open MPI", "Slurm", "megalith launch".
std::string launcher_name(Launcher launcher);

struct LaunchEnvironment {
  Launcher launcher = Launcher::kNone;
  int64_t rank = 0;
  int64_t world_size = 1;
  int64_t local_rank = 0;        // position among this host's ranks
  int64_t local_world_size = 1;  // how many ranks this host has
  std::string master_addr = "127.0.0.1";
  int64_t master_port = 29500;   // torchrun's and c10d's own default
  int64_t restart_count = 0;     // part of the store's prefix: torchrun's store outlives a restart
  bool use_agent_store = false;  // torchrun already serves the store: every rank is a client
  /// A socket already listening on master_port that rank 0's store takes over (megalith launch).
  std::optional<int> master_listen_fd = std::nullopt;
  std::optional<std::string> gloo_interface = std::nullopt;  // GLOO_SOCKET_IFNAME
};

/// Looks a variable up; nothing when it is not set. An empty value counts as not set.
using ReadVariable = std::function<std::optional<std::string>(const char*)>;

/// Order: RANK/WORLD_SIZE, then OMPI_COMM_WORLD_*, then SLURM_* (only inside srun), else one
/// process. Throws UsageError naming the variable, the value seen and what to set.
LaunchEnvironment read_launch_environment(const ReadVariable& read);

/// The same from this process's own environment.
LaunchEnvironment read_launch_environment();

/// The hosts of a Slurm node list in order: "node[003-005,9],x1" gives node003, node004, node005,
/// node9, x1. Throws UsageError naming `variable` when the list is malformed.
std::vector<std::string> expand_node_list(const std::string& list, const char* variable);

/// The counts of a Slurm task list in node order: "2(x3),1" gives 2, 2, 2, 1.
std::vector<int64_t> expand_task_counts(const std::string& list, const char* variable);

}  // namespace megalith

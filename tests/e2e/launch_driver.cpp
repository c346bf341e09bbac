// Runs a shell script as N ranks through cli/rank_processes, so that a test decides what a rank
// does.
//
// Not megalith launch itself: that only starts its own binary's subcommands. The tests that use the
// real binary stand beside those that use this program.
//   launch_driver NUM_RANKS GRACE_SECONDS PREFIX(auto|always|never) SCRIPT
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "cli/rank_processes.hpp"

int main(int argc, char** argv) {
  using namespace megalith::cli;
  if (argc != 5) return 2;
  RankProcessesOptions options;
  options.program = "/bin/sh";
  options.grace_seconds = std::atof(argv[2]);
  const std::string prefix = argv[3];
  options.prefix = prefix == "always"  ? PrefixMode::kAlways
                   : prefix == "never" ? PrefixMode::kNever
                                       : PrefixMode::kAuto;
  for (int rank = 0; rank < std::atoi(argv[1]); ++rank) {
    RankProcess process;
    process.words = {"sh", "-c", argv[4]};
    process.environment = {{"RANK", std::to_string(rank)}};
    options.ranks.push_back(process);
  }
  try {
    return run_rank_processes(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

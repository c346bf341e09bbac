// megalith launch: several ranks of any subcommand on this machine, without Python or MPI.
//
// Sets the variables that torchrun sets, so a rank cannot tell the difference, and adds one: the
// number of a listening socket for rank 0's store. The system picks the port while the launcher
// holds it, so no other program can take it before rank 0 serves, and early clients wait in line.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/rank_processes.hpp"
#include "megalith/parallel/launch.hpp"

namespace megalith::cli {
namespace {

constexpr const char* kMasterAddr = "127.0.0.1";

struct LaunchOptions {
  std::optional<int64_t> nproc_per_node;
  double grace_seconds = 5;
  PrefixMode prefix = PrefixMode::kAuto;
  bool inherit_scheduling = false;

  FieldList fields() {
    return {
        {"nproc-per-node", &nproc_per_node, "How many ranks to start.", between(1, 1024)},
        {"grace-seconds", &grace_seconds,
         "When a rank fails the others get SIGTERM, and SIGKILL this much later.", at_least(0)},
        {"prefix", choice(prefix, {"auto", "always", "never"}),
         "Whether output lines begin with \"[rank] \". auto: all do, except that on a terminal "
         "rank 0 "
         "writes to it directly, so that its progress line works."},
        {"inherit-scheduling", &inherit_scheduling,
         "Keep the scheduling policy of the shell. Otherwise ranks run under SCHED_BATCH, which "
         "makes small collectives between ranks of one machine several times faster."},
    };
  }
};

/// Where the launcher's own flags end: at the first word that is neither a flag nor its value.
size_t find_subcommand(const Words& words) {
  size_t at = 0;
  while (at < words.size() && words[at].starts_with("-")) {
    const bool stands_alone = words[at].find('=') != std::string::npos || words[at] == "--help" ||
                              words[at] == "-h" || words[at] == "--inherit-scheduling";
    at += stands_alone ? 1 : 2;
  }
  return std::min(at, words.size());
}

struct Listener {
  int fd;
  int port;
};

/// A socket that already listens, on a port of the system's choice.
Listener listen_anywhere() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::inet_addr(kMasterAddr);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (fd < 0 || ::bind(fd, generic, size) != 0 || ::listen(fd, SOMAXCONN) != 0 ||
      ::getsockname(fd, generic, &size) != 0) {
    throw RunError(system_error_text(kMasterAddr, "listen"));
  }
  return {fd, ntohs(address.sin_port)};
}

void refuse_nesting() {
  const auto environment = read_launch_environment();
  if (environment.launcher != Launcher::kMegalith && environment.world_size == 1) return;
  throw UsageError(
      "launch: the environment already makes this process rank {} of {} (launcher: {}); start the "
      "subcommand directly under that launcher, or unset its variables",
      environment.rank, environment.world_size, launcher_name(environment.launcher));
}

RankProcess make_rank(int64_t rank, int64_t num_ranks, const Words& words,
                      const Listener& listener) {
  RankProcess process;
  process.words = {"megalith"};
  process.words.insert(process.words.end(), words.begin(), words.end());
  const auto number = [](int64_t value) { return std::to_string(value); };
  process.environment = {
      {"RANK", number(rank)},       {"WORLD_SIZE", number(num_ranks)},
      {"LOCAL_RANK", number(rank)}, {"LOCAL_WORLD_SIZE", number(num_ranks)},
      {"MASTER_ADDR", kMasterAddr}, {"MASTER_PORT", number(listener.port)},
      {"MEGALITH_LAUNCHER", "1"},
  };
  if (rank == 0) {
    process.environment.emplace_back("MEGALITH_MASTER_LISTEN_FD", number(listener.fd));
    process.inherited_fds = {listener.fd};
  }
  return process;
}

}  // namespace

int run_launch(const Words& words) {
  LaunchOptions options;
  Words subcommand;
  CommandLine line("megalith launch --nproc-per-node N SUBCOMMAND",
                   "Starts N ranks of a subcommand on this machine and ends when they do.");
  line.section("Ranks", options.fields());
  line.epilogue(
      "Signals are passed on to every rank; no rank outlives the launcher. The exit\n"
      "status is 0, or that of the rank that failed first (128 + N after signal N).\n"
      "Standard input goes to rank 0 unless it is a terminal.\n\n"
      "Example:\n"
      "  megalith launch --nproc-per-node 2 pretrain gpt \\\n"
      "    --config configs/quickstart.toml");
  const size_t split = find_subcommand(words);
  if (!line.parse({words.begin(), words.begin() + split})) return 0;
  if (!options.nproc_per_node) {
    throw UsageError("launch: --nproc-per-node is missing; say how many ranks to start");
  }
  subcommand.assign(words.begin() + split, words.end());
  if (subcommand.empty()) {
    throw UsageError(
        "launch: no subcommand; e.g. megalith launch --nproc-per-node {} pretrain gpt ...",
        *options.nproc_per_node);
  }
  refuse_nesting();

  const Listener listener = listen_anywhere();
  RankProcessesOptions processes;
  processes.program = "/proc/self/exe";
  for (int64_t rank = 0; rank < *options.nproc_per_node; ++rank) {
    processes.ranks.push_back(make_rank(rank, *options.nproc_per_node, subcommand, listener));
  }
  // A torchrun around an enclosing shell must not be taken for ours.
  processes.removed_variables = {"TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RESTART_COUNT",
                                 "TORCHELASTIC_RUN_ID", "MEGALITH_MASTER_LISTEN_FD"};
  processes.grace_seconds = options.grace_seconds;
  processes.prefix = options.prefix;
  processes.batch_scheduling = !options.inherit_scheduling;
  return run_rank_processes(processes);
}

}  // namespace megalith::cli

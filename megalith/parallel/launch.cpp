#include "megalith/parallel/launch.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <numeric>
#include <string_view>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

// Ports made from a job's number stay below the range the system hands out by itself (32768 and
// up).
constexpr int64_t kFirstDerivedPort = 15000;
constexpr int64_t kNumDerivedPorts = 14000;
// A node list longer than this is a typing mistake, not a cluster.
constexpr size_t kMostNodes = 1 << 20;
// Slurm numbers the steps that are not started by srun (batch script, interactive shell, external
// processes) from here up; see SLURM_BATCH_SCRIPT and its neighbours in slurm.h.
constexpr int64_t kFirstReservedStep = 0xfffffff0;

constexpr int64_t kMostRanks = int64_t{1} << 31;

std::optional<int64_t> to_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return {};
  return value;
}

/// Typed, checked access to the variables; every message names the variable and what it held.
class Variables {
 public:
  explicit Variables(const ReadVariable& read) : read_(read) {}

  std::optional<std::string> text(const char* name) const {
    auto value = read_(name);
    if (value && value->empty()) return std::nullopt;
    return value;
  }
  bool has(const char* name) const { return text(name).has_value(); }

  std::optional<int64_t> integer(const char* name, int64_t low, int64_t high) const {
    const auto value = text(name);
    if (!value) return std::nullopt;
    const auto number = to_integer(*value);
    if (!number || *number < low || *number > high) {
      throw UsageError(
          "environment: {}='{}' must be a whole number from {} to {}; correct or unset it", name,
          *value, low, high);
    }
    return number;
  }
  int64_t required(const char* name, int64_t low, int64_t high, const char* because) const {
    const auto value = integer(name, low, high);
    if (!value)
      throw UsageError("environment: {} is not set, but {}; set it as well", name, because);
    return *value;
  }

 private:
  const ReadVariable& read_;
};

int64_t derived_port(uint64_t key) {
  return kFirstDerivedPort + static_cast<int64_t>(key % static_cast<uint64_t>(kNumDerivedPorts));
}

bool is_loopback(const std::string& address) {
  return address == "localhost" || address == "::1" || address.starts_with("127.");
}

/// MASTER_ADDR and MASTER_PORT win over whatever a launcher implies.
void read_master(const Variables& variables, LaunchEnvironment& environment) {
  if (auto address = variables.text("MASTER_ADDR")) environment.master_addr = *address;
  if (auto port = variables.integer("MASTER_PORT", 1, 65535)) environment.master_port = *port;
}

void read_torchrun_store(const Variables& variables, LaunchEnvironment& environment) {
  const auto agent = variables.text("TORCHELASTIC_USE_AGENT_STORE");
  if (agent && *agent != "True" && *agent != "False") {
    throw UsageError("environment: TORCHELASTIC_USE_AGENT_STORE='{}' must be True or False",
                     *agent);
  }
  environment.use_agent_store = agent == "True";
  environment.restart_count =
      variables.integer("TORCHELASTIC_RESTART_COUNT", 0, kMostRanks).value_or(0);
}

/// LOCAL_RANK and LOCAL_WORLD_SIZE, or what follows without doubt when they are missing.
void read_local(const Variables& variables, LaunchEnvironment& environment) {
  const int64_t world = environment.world_size;
  auto local_world = variables.integer("LOCAL_WORLD_SIZE", 1, world);
  if (!local_world && (world == 1 || is_loopback(environment.master_addr))) local_world = world;
  if (!local_world) {
    throw UsageError(
        "environment: LOCAL_WORLD_SIZE is not set, and MASTER_ADDR={} may be another host; set "
        "LOCAL_WORLD_SIZE (ranks on this host) and LOCAL_RANK, or start the ranks with torchrun",
        environment.master_addr);
  }
  auto local_rank = variables.integer("LOCAL_RANK", 0, *local_world - 1);
  if (!local_rank && *local_world == world) local_rank = environment.rank;
  if (!local_rank && *local_world == 1) local_rank = 0;
  if (!local_rank) {
    throw UsageError(
        "environment: LOCAL_RANK is not set, but LOCAL_WORLD_SIZE={} of {} ranks; set it",
        *local_world, world);
  }
  environment.local_rank = *local_rank;
  environment.local_world_size = *local_world;
}

LaunchEnvironment from_rank_variables(const Variables& variables) {
  LaunchEnvironment environment;
  const bool is_torchrun = variables.has("TORCHELASTIC_RUN_ID");
  const bool is_ours = variables.has("MEGALITH_LAUNCHER");
  environment.launcher = is_ours       ? Launcher::kMegalith
                         : is_torchrun ? Launcher::kTorchrun
                                       : Launcher::kByHand;
  environment.world_size = variables.required("WORLD_SIZE", 1, kMostRanks, "RANK is");
  environment.rank = variables.required("RANK", 0, environment.world_size - 1, "WORLD_SIZE is");
  if (environment.world_size > 1 && !variables.has("MASTER_ADDR")) {
    throw UsageError(
        "environment: WORLD_SIZE={} but MASTER_ADDR is not set; set it to the host of rank 0 "
        "(127.0.0.1 when all ranks share one), or unset RANK and WORLD_SIZE for a single process",
        environment.world_size);
  }
  read_master(variables, environment);
  read_local(variables, environment);
  read_torchrun_store(variables, environment);
  if (environment.rank == 0) {
    if (auto fd = variables.integer("MEGALITH_MASTER_LISTEN_FD", 3, 1 << 20)) {
      environment.master_listen_fd = static_cast<int>(*fd);
    }
  }
  return environment;
}

/// FNV-1a: only has to be the same on every rank.
uint64_t text_key(const std::string& text) {
  uint64_t key = 0xcbf29ce484222325;
  for (const char c : text) key = (key ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return key;
}

LaunchEnvironment from_open_mpi(const Variables& variables) {
  LaunchEnvironment environment;
  environment.launcher = Launcher::kOpenMpi;
  const char* because = "OMPI_COMM_WORLD_RANK is";
  environment.world_size = variables.required("OMPI_COMM_WORLD_SIZE", 1, kMostRanks, because);
  environment.rank =
      variables.required("OMPI_COMM_WORLD_RANK", 0, environment.world_size - 1, because);
  environment.local_world_size =
      variables.required("OMPI_COMM_WORLD_LOCAL_SIZE", 1, environment.world_size, because);
  environment.local_rank = variables.required("OMPI_COMM_WORLD_LOCAL_RANK", 0,
                                              environment.local_world_size - 1, because);
  if (!variables.has("MASTER_ADDR") && environment.local_world_size != environment.world_size) {
    throw UsageError(
        "environment: Open MPI started {} ranks, {} of them on this host, and MASTER_ADDR is not "
        "set; "
        "add -x MASTER_ADDR=<host of rank 0> -x MASTER_PORT=<free port> to mpirun",
        environment.world_size, environment.local_world_size);
  }
  // Every rank of one mpirun sees the same name, two jobs on one host see different ones.
  if (auto job = variables.text("PMIX_NAMESPACE")) {
    environment.master_port = derived_port(text_key(*job));
  }
  read_master(variables, environment);
  return environment;
}

/// True inside srun; false in a bare batch script or an interactive allocation's shell, where
/// SLURM_PROCID and SLURM_NTASKS are set too although there is one process only.
bool is_inside_srun(const Variables& variables) {
  if (!variables.has("SLURM_PROCID")) return false;
  const auto step = variables.integer("SLURM_STEP_ID", 0, 0xffffffff);
  if (step) return *step < kFirstReservedStep;
  return variables.has("SLURM_SRUN_COMM_PORT");
}

int64_t slurm_tasks_on_this_node(const Variables& variables, int64_t world_size) {
  const int64_t node = variables.integer("SLURM_NODEID", 0, kMostNodes).value_or(0);
  for (const char* name : {"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"}) {
    const auto list = variables.text(name);
    if (!list) continue;
    const auto counts = expand_task_counts(*list, name);
    const auto total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
    // The allocation's list says nothing of a smaller step.
    if (total != world_size) continue;
    if (node >= static_cast<int64_t>(counts.size())) {
      throw UsageError("environment: SLURM_NODEID={} but {}='{}' lists {} nodes", node, name, *list,
                       counts.size());
    }
    return counts[static_cast<size_t>(node)];
  }
  for (const char* name : {"SLURM_STEP_NUM_NODES", "SLURM_NNODES"}) {
    if (variables.integer(name, 1, kMostNodes) == 1) return world_size;
  }
  throw UsageError(
      "environment: SLURM_STEP_TASKS_PER_NODE does not say how many of the {} tasks run on this "
      "node; "
      "start the ranks with srun, or set RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE "
      "yourself",
      world_size);
}

LaunchEnvironment from_slurm(const Variables& variables) {
  LaunchEnvironment environment;
  environment.launcher = Launcher::kSlurm;
  const char* because = "SLURM_PROCID is";
  // The step's own count first: SLURM_NTASKS may be the allocation's.
  const auto step_tasks = variables.integer("SLURM_STEP_NUM_TASKS", 1, kMostRanks);
  environment.world_size =
      step_tasks ? *step_tasks : variables.required("SLURM_NTASKS", 1, kMostRanks, because);
  environment.rank = variables.required("SLURM_PROCID", 0, environment.world_size - 1, because);
  environment.local_world_size = slurm_tasks_on_this_node(variables, environment.world_size);
  environment.local_rank =
      variables.required("SLURM_LOCALID", 0, environment.local_world_size - 1, because);
  if (environment.world_size > 1 && !variables.has("MASTER_ADDR")) {
    const char* name =
        variables.has("SLURM_STEP_NODELIST") ? "SLURM_STEP_NODELIST" : "SLURM_NODELIST";
    const auto list = variables.text(name);
    if (!list) {
      throw UsageError("environment: neither SLURM_STEP_NODELIST nor MASTER_ADDR is set; set one");
    }
    environment.master_addr = expand_node_list(*list, name).front();
  }
  const auto job = variables.integer("SLURM_JOB_ID", 0, INT64_MAX).value_or(0);
  const auto step = variables.integer("SLURM_STEP_ID", 0, 0xffffffff).value_or(0);
  // Two steps of one job may share their first node: keep them on ports far apart.
  environment.master_port =
      derived_port(static_cast<uint64_t>(job) + static_cast<uint64_t>(step) * 4999);
  read_master(variables, environment);
  return environment;
}

/// Cuts at commas that stand outside brackets. `bad` is thrown by on unbalanced brackets.
std::vector<std::string> split_outside_brackets(const std::string& list, const UsageError& bad) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : list) {
    depth += c == '[' ? 1 : c == ']' ? -1 : 0;
    if (depth < 0 || depth > 1) throw bad;
    if (c == ',' && depth == 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  if (depth != 0) throw bad;
  return parts;
}

/// "003-005" gives 003, 004, 005: numbers keep the width of the first one.
std::vector<std::string> expand_range(const std::string& range, const UsageError& bad) {
  const auto dash = range.find('-');
  const std::string first = range.substr(0, dash);
  const std::string last = dash == std::string::npos ? first : range.substr(dash + 1);
  const auto low = to_integer(first), high = to_integer(last);
  if (!low || !high || *low < 0 || *high < *low ||
      *high - *low >= static_cast<int64_t>(kMostNodes)) {
    throw bad;
  }
  std::vector<std::string> numbers;
  for (int64_t number = *low; number <= *high; ++number) {
    numbers.push_back(fmt::format("{:0{}}", number, first.size()));
  }
  return numbers;
}

}  // namespace

std::string launcher_name(Launcher launcher) {
  switch (launcher) {
    case Launcher::kNone:
      return "none";
    case Launcher::kByHand:
      return "RANK and WORLD_SIZE set by hand";
    case Launcher::kTorchrun:
      return "torchrun";
    case Launcher::kOpenMpi:
      return "Open MPI";
    case Launcher::kSlurm:
      return "Slurm";
    case Launcher::kMegalith:
      return "megalith launch";
  }
  throw std::logic_error("a launcher without a name");
}

std::vector<std::string> expand_node_list(const std::string& list, const char* variable) {
  const UsageError bad(
      "environment: {}='{}' is not a node list such as node[003-007,9],x1; set "
      "MASTER_ADDR to the host of rank 0 instead",
      variable, list);
  std::vector<std::string> nodes;
  for (const auto& part : split_outside_brackets(list, bad)) {
    if (part.empty()) throw bad;
    // Every bracket multiplies the names made so far: rack[1-2]n[0-3] is eight nodes.
    std::vector<std::string> names(1);
    for (size_t at = 0; at < part.size();) {
      std::vector<std::string> pieces;
      if (part[at] == '[') {
        const size_t end = part.find(']', at);
        for (const auto& range : split_outside_brackets(part.substr(at + 1, end - at - 1), bad)) {
          const auto numbers = expand_range(range, bad);
          pieces.insert(pieces.end(), numbers.begin(), numbers.end());
        }
        at = end + 1;
      } else {
        const size_t end = std::min(part.find('[', at), part.size());
        pieces.push_back(part.substr(at, end - at));
        at = end;
      }
      std::vector<std::string> longer;
      if (names.size() * pieces.size() > kMostNodes) throw bad;
      for (const auto& name : names) {
        for (const auto& piece : pieces) longer.push_back(name + piece);
      }
      names = std::move(longer);
    }
    nodes.insert(nodes.end(), names.begin(), names.end());
  }
  return nodes;
}

std::vector<int64_t> expand_task_counts(const std::string& list, const char* variable) {
  const UsageError bad("environment: {}='{}' is not a task list such as 2(x3),1", variable, list);
  std::vector<int64_t> counts;
  for (size_t at = 0; at <= list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    std::string part = list.substr(at, end - at);
    int64_t times = 1;
    if (const auto open = part.find("(x"); open != std::string::npos && part.ends_with(')')) {
      times = to_integer(part.substr(open + 2, part.size() - open - 3)).value_or(0);
      part.resize(open);
    }
    const auto count = to_integer(part);
    if (!count || *count < 1 || times < 1 || times > static_cast<int64_t>(kMostNodes)) throw bad;
    counts.insert(counts.end(), static_cast<size_t>(times), *count);
    if (counts.size() > kMostNodes) throw bad;
    at = end + 1;
  }
  return counts;
}

namespace {

LaunchEnvironment read_rank(const Variables& variables) {
  if (variables.has("RANK") || variables.has("WORLD_SIZE")) return from_rank_variables(variables);
  if (variables.has("OMPI_COMM_WORLD_RANK")) return from_open_mpi(variables);
  if (is_inside_srun(variables)) return from_slurm(variables);
  // Another MPI's launcher: without this, each of its processes would train alone and overwrite the
  // others' files. Slurm's plug-ins set these variables too, also where one process runs.
  const bool is_slurm = variables.has("SLURM_JOB_ID");
  const auto mpi_size = is_slurm ? std::nullopt : variables.integer("PMI_SIZE", 1, kMostRanks);
  if (mpi_size.value_or(1) > 1) {
    throw UsageError(
        "environment: PMI_SIZE={} names an MPI launcher that is not read here; use torchrun, Open "
        "MPI's mpirun, srun or megalith launch, or set RANK, WORLD_SIZE and MASTER_ADDR for each "
        "rank",
        *mpi_size);
  }
  return {};
}

}  // namespace

LaunchEnvironment read_launch_environment(const ReadVariable& read) {
  LaunchEnvironment environment = read_rank(Variables(read));
  environment.gloo_interface = read("GLOO_SOCKET_IFNAME");
  return environment;
}

LaunchEnvironment read_launch_environment() {
  return read_launch_environment([](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    return value ? std::optional<std::string>(value) : std::nullopt;
  });
}

}  // namespace megalith

// megalith doctor: what this build and this machine offer, for people and for bug reports.
//
// Only looks: changes nothing, joins no group, and ends with status 0 whatever it finds. Every line
// of the text is a value of the JSON object that --json prints.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <net/if.h>
#include <sched.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "megalith/parallel/backends.hpp"
#include "megalith/parallel/launch.hpp"

namespace megalith::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kGiB = 1024.0 * 1024 * 1024;

/// "name : value" lines of a file under /proc, first occurrence of each name.
std::map<std::string, std::string> read_table(const char* path) {
  std::map<std::string, std::string> table;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const auto name_end = line.find_last_not_of(" \t", colon - 1);
    const auto value = line.find_first_not_of(" \t", colon + 1);
    table.emplace(line.substr(0, name_end + 1),
                  value == std::string::npos ? "" : line.substr(value));
  }
  return table;
}

/// Bytes of a "123 kB" entry of /proc/meminfo.
int64_t memory_bytes(const std::map<std::string, std::string>& table, const char* name) {
  const auto found = table.find(name);
  return found == table.end() ? 0 : std::stoll(found->second) * 1024;
}

/// The container's own limit, or nothing.
std::optional<int64_t> cgroup_memory_limit() {
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    int64_t bytes = 0;
    if (file >> bytes && bytes < (int64_t{1} << 60)) return bytes;  // "max" and huge mean none
  }
  return std::nullopt;
}

/// Cores' worth of time that the container grants, or nothing.
std::optional<double> cgroup_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0, period = 0;
  if (file >> quota >> period && period > 0) return quota / period;
  return std::nullopt;
}

int64_t usable_cores() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return ::sysconf(_SC_NPROCESSORS_ONLN);
  return CPU_COUNT(&set);
}

/// The extensions that decide how fast matrix products are.
std::vector<std::string> instruction_sets(const std::map<std::string, std::string>& cpu) {
  const auto found = cpu.contains("flags") ? cpu.find("flags") : cpu.find("Features");
  if (found == cpu.end()) return {};
  std::istringstream words(found->second);
  const std::set<std::string> flags{std::istream_iterator<std::string>(words), {}};
  constexpr std::pair<const char*, const char*> kNames[] = {{"avx2", "AVX2"},
                                                            {"fma", "FMA"},
                                                            {"avx512f", "AVX-512"},
                                                            {"avx512_vnni", "AVX-512-VNNI"},
                                                            {"avx512_bf16", "AVX-512-BF16"},
                                                            {"amx_bf16", "AMX-BF16"},
                                                            {"asimd", "NEON"},
                                                            {"sve", "SVE"},
                                                            {"bf16", "BF16"}};
  std::vector<std::string> names;
  for (const auto& [flag, name] : kNames) {
    if (flags.contains(flag)) names.emplace_back(name);
  }
  return names;
}

std::string scheduling_policy() {
  const int policy = ::sched_getscheduler(0);
  return policy == SCHED_OTHER ? "other" : policy == SCHED_BATCH ? "batch" : std::to_string(policy);
}

Json describe_launcher() {
  try {
    const auto environment = read_launch_environment();
    return {{"name", launcher_name(environment.launcher)},
            {"rank", environment.rank},
            {"world_size", environment.world_size},
            {"local_rank", environment.local_rank},
            {"local_world_size", environment.local_world_size},
            {"master_addr", environment.master_addr},
            {"master_port", environment.master_port},
            {"agent_store", environment.use_agent_store}};
  } catch (const UsageError& error) {
    return {{"name", nullptr}, {"mistake", error.what()}};
  }
}

Json describe_devices() {
  Json devices = Json::array({"cpu"});
  const int64_t num_gpus = at::hasCUDA() ? static_cast<int64_t>(at::getNumGPUs()) : 0;
  for (int64_t gpu = 0; gpu < num_gpus; ++gpu) devices.push_back(fmt::format("cuda:{}", gpu));
  return devices;
}

Json describe_machine() {
  const auto cpu = read_table("/proc/cpuinfo");
  const auto memory = read_table("/proc/meminfo");
  const auto limit = cgroup_memory_limit();
  const auto cores = cgroup_cores();
  Json report;
  report["version"] = MEGALITH_VERSION;
  report["libtorch"] = TORCH_VERSION;
  report["devices"] = describe_devices();
  report["backends"] = cuda_compiled_in() ? std::vector{"gloo", "nccl"} : std::vector{"gloo"};
  report["processor"] = cpu.contains("model name") ? cpu.at("model name") : "unknown";
  report["instruction_sets"] = instruction_sets(cpu);
  report["libtorch_kernels"] = at::get_cpu_capability();
  report["cores"] = usable_cores();
  report["core_limit"] = cores ? Json(*cores) : Json();
  report["threads"] = at::get_num_threads();
  report["scheduling_policy"] = scheduling_policy();
  report["memory_total_bytes"] = memory_bytes(memory, "MemTotal");
  report["memory_available_bytes"] = memory_bytes(memory, "MemAvailable");
  report["memory_limit_bytes"] = limit ? Json(*limit) : Json();
  report["launcher"] = describe_launcher();
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  report["gloo_socket_ifname"] = interface ? Json(interface) : Json();
  return report;
}

void print_line(const char* name, const std::string& value) {
  constexpr size_t kColumn = 18;
  // wrap() joins words by single spaces, so the name takes its place afterwards.
  const std::string place(kColumn - 1, '_');
  fmt::print("{}\n", wrap(place + " " + value, 80, kColumn)
                         .replace(0, kColumn, fmt::format("{:<{}}", name, kColumn)));
}

std::string launcher_text(const Json& launcher) {
  if (launcher.contains("mistake")) return "mistake: " + launcher["mistake"].get<std::string>();
  const auto name = launcher["name"].get<std::string>();
  if (name == launcher_name(Launcher::kNone)) return "none: a single process";
  return fmt::format(
      "{}: rank {} of {}, {} of {} on this host, rank 0 at {} port {}", name,
      launcher["rank"].get<int64_t>(), launcher["world_size"].get<int64_t>(),
      launcher["local_rank"].get<int64_t>(), launcher["local_world_size"].get<int64_t>(),
      launcher["master_addr"].get<std::string>(), launcher["master_port"].get<int64_t>());
}

std::string interface_text(const Json& name) {
  if (name.is_null()) return "by host name (GLOO_SOCKET_IFNAME is not set)";
  const auto text = name.get<std::string>();
  return ::if_nametoindex(text.c_str()) != 0
             ? text
             : fmt::format("mistake: GLOO_SOCKET_IFNAME={}: no interface of that name", text);
}

void print_report(const Json& report) {
  const auto list = [&](const char* key) {
    return fmt::format("{}", fmt::join(report[key].get<std::vector<std::string>>(), ", "));
  };
  const auto gib = [&](const char* key) {
    return fmt::format("{:.1f} GiB", report[key].get<double>() / kGiB);
  };
  const bool has_nccl = report["backends"].size() > 1;
  print_line("megalith", report["version"]);
  print_line("LibTorch", report["libtorch"]);
  print_line("devices", list("devices") + (report["devices"].size() > 1 ? "" : " (no GPU found)"));
  print_line("backends", list("backends") + (has_nccl ? "" : " (nccl: build the preset cuda)"));
  print_line("processor", report["processor"]);
  print_line("instruction set", fmt::format("{}; LibTorch uses {}", list("instruction_sets"),
                                            report["libtorch_kernels"].get<std::string>()));
  print_line("cores", fmt::format("{}{}", report["cores"].get<int64_t>(),
                                  report["core_limit"].is_null()
                                      ? ""
                                      : fmt::format(", limited to the time of {:.1f}",
                                                    report["core_limit"].get<double>())));
  print_line("threads", fmt::format("{} a process by default", report["threads"].get<int64_t>()));
  print_line("memory", gib("memory_total_bytes") + ", " + gib("memory_available_bytes") + " free" +
                           (report["memory_limit_bytes"].is_null()
                                ? ""
                                : ", limited to " + gib("memory_limit_bytes")));
  const auto policy = report["scheduling_policy"].get<std::string>();
  print_line("scheduling", policy == "other"
                               ? "default; several gloo ranks on one host are faster under "
                                 "SCHED_BATCH: megalith launch sets it, else start with chrt -b 0"
                               : policy);
  print_line("launcher", launcher_text(report["launcher"]));
  print_line("gloo interface", interface_text(report["gloo_socket_ifname"]));
}

}  // namespace

int run_doctor(const Words& words) {
  bool json = false;
  CommandLine line("megalith doctor", "Says what this build and this machine offer to megalith.");
  line.section("Output", {{"json", &json, "Print one JSON object instead of text."}});
  if (!line.parse(words)) return 0;
  const Json report = describe_machine();
  if (json) {
    fmt::print("{}\n", report.dump(2));
  } else {
    print_report(report);
  }
  return 0;
}

}  // namespace megalith::cli

#include "megalith/parallel/distributed.hpp"

#include <ATen/Parallel.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <algorithm>
#include <thread>

#include "megalith/parallel/backends.hpp"
#include "megalith/parallel/collectives.hpp"

namespace megalith {
namespace {

/// The scheduling policy under which gloo's event thread and its user do not wait out each other's
/// slices is set by cli (it concerns the process); here only groups are made.
c10::intrusive_ptr<c10d::Store> connect_store(const LaunchEnvironment& environment,
                                              std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(environment.master_port);
  options.isServer = environment.rank == 0 && !environment.use_agent_store;
  options.numWorkers = static_cast<size_t>(environment.world_size);
  options.waitWorkers = false;
  options.timeout = timeout;
  if (options.isServer) options.masterListenFd = environment.master_listen_fd;
  try {
    auto store = c10::make_intrusive<c10d::TCPStore>(environment.master_addr, options);
    return c10::make_intrusive<c10d::PrefixStore>(
        fmt::format("megalith/{}", environment.restart_count), store);
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    throw RunError("rank {} of {}: cannot {} the store at {}:{}: {}", environment.rank,
                   environment.world_size, options.isServer ? "serve" : "reach",
                   environment.master_addr, environment.master_port,
                   text.substr(0, text.find('\n')));
  }
}

std::chrono::milliseconds timeout_of(const DistributedConfig& config) {
  return std::chrono::milliseconds(static_cast<int64_t>(config.timeout_minutes * 60e3));
}

}  // namespace

FieldList DistributedConfig::fields() {
  return {
      {"tensor-model-parallel-size", &tensor_model_parallel_size,
       "Ranks that share each layer (the paper's model parallelism).", at_least(1)},
      {"device", choice(device, {"auto", "cpu", "cuda"}), "Where tensors live."},
      {"distributed-backend", choice(backend, {"auto", "gloo", "nccl"}),
       "Collectives: gloo on CPUs, nccl on GPUs; auto goes by the device."},
      {"num-threads", &num_threads, "CPU threads of each rank.", at_least(1),
       "cores / ranks on this host"},
      {"distributed-timeout-minutes", &timeout_minutes,
       "A collective that waits longer ends the run; fractions are allowed.", above(0)},
  };
}

void DistributedConfig::check(const LaunchEnvironment& environment, Problems& problems) const {
  make_layout(environment.world_size, tensor_model_parallel_size, problems);
  if (device == DeviceKind::kCuda && cuda_device_count() == 0) {
    problems.add("--device cuda: {}; use --device cpu",
                 cuda_compiled_in() ? "no CUDA device is visible" : "this build has no CUDA");
  }
  const bool cuda =
      device == DeviceKind::kCuda || (device == DeviceKind::kAuto && cuda_device_count() > 0);
  if (cuda && environment.local_world_size > cuda_device_count()) {
    problems.add("{} ranks on this host but {} CUDA device(s); start one rank a device",
                 environment.local_world_size, cuda_device_count());
  }
  if (backend == BackendKind::kNccl && !cuda) {
    problems.add("--distributed-backend nccl needs --device cuda; use gloo on CPUs");
  }
  if (backend == BackendKind::kGloo && cuda) {
    problems.add("--distributed-backend gloo needs --device cpu; use nccl on GPUs");
  }
}

struct Distributed::State {
  c10::intrusive_ptr<c10d::Store> store;
  std::unique_ptr<GlooDevice> gloo;
};

Distributed::Distributed(const DistributedConfig& config, const LaunchEnvironment& environment)
    : environment_(environment), device_(at::kCPU), state_(std::make_unique<State>()) {
  if (config.device == DeviceKind::kCuda ||
      (config.device == DeviceKind::kAuto && cuda_device_count() > 0)) {
    device_ = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(environment.local_rank));
    select_cuda_device(environment.local_rank);
  }
  nccl_ = device_.is_cuda();
  const auto cores = static_cast<int64_t>(std::max(1u, std::thread::hardware_concurrency()));
  num_threads_ =
      config.num_threads.value_or(std::max<int64_t>(1, cores / environment.local_world_size));
  at::set_num_threads(static_cast<int>(num_threads_));

  Problems problems;
  const Layout layout =
      make_layout(environment.world_size, config.tensor_model_parallel_size, problems);
  problems.raise_if_any();
  const auto timeout = timeout_of(config);
  if (environment.world_size > 1) {
    state_->store = connect_store(environment, timeout);
    if (!nccl_) {
      state_->gloo = std::make_unique<GlooDevice>(
          environment.local_world_size == environment.world_size, environment.gloo_interface);
    }
  }
  const auto factory = [&](const std::string& name, int64_t rank,
                           const std::vector<int64_t>& ranks) {
    // Groups of one name are told apart by their first rank.
    auto store = c10::make_intrusive<c10d::PrefixStore>(fmt::format("{}/{}", name, ranks.front()),
                                                        state_->store);
    const auto size = static_cast<int64_t>(ranks.size());
    try {
      return nccl_ ? make_nccl_communicator(store, rank, size, timeout)
                   : make_gloo_communicator(store, *state_->gloo, rank, size, timeout);
    } catch (const c10::Error& error) {
      const std::string text = error.what_without_backtrace();
      throw RunError("rank {}: group '{}' did not form within {} minutes: {}", environment.rank,
                     name, config.timeout_minutes, text.substr(0, text.find('\n')));
    }
  };
  groups_ = std::make_unique<ProcessGroups>(layout, environment.rank, factory);
}

Distributed::~Distributed() = default;

const char* Distributed::backend_name() const {
  if (environment_.world_size == 1) return "none";
  return nccl_ ? "nccl" : "gloo";
}

void Distributed::require_same(const std::string& what, const std::string& text) {
  if (environment_.world_size == 1) return;
  const auto key = [&](int64_t rank) { return fmt::format("same/{}/{}", what, rank); };
  state_->store->set(key(environment_.rank), std::vector<uint8_t>(text.begin(), text.end()));
  const auto first = state_->store->get(key(0));
  std::vector<int64_t> different;
  for (int64_t rank = 1; rank < environment_.world_size; ++rank) {
    if (state_->store->get(key(rank)) != first) different.push_back(rank);
  }
  if (!different.empty()) {
    throw UsageError(
        "{} differs between ranks: rank(s) {} were started with other settings than "
        "rank 0; start every rank with the same flags and run file",
        what, fmt::join(different, ", "));
  }
}

void Distributed::report_first(const std::string& what, const std::string& error) {
  if (environment_.world_size == 1) return;
  state_->store->set("first/" + what, std::vector<uint8_t>(error.begin(), error.end()));
}

void Distributed::wait_for_first(const std::string& what) {
  using namespace std::chrono_literals;
  // Asks again and again, since the store's own wait has a time-out and this work may take hours; a
  // lost rank 0 ends the connection, and with it the wait.
  while (!state_->store->check({"first/" + what})) std::this_thread::sleep_for(100ms);
  const auto error = state_->store->get("first/" + what);
  if (!error.empty()) {
    throw RunError("rank {}: rank 0 failed at {}: {}", environment_.rank, what,
                   std::string(error.begin(), error.end()));
  }
}

}  // namespace megalith

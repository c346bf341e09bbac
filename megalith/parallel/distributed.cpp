#include "megalith/parallel/distributed.hpp"

#include <ATen/Parallel.h>
#include <signal.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "megalith/parallel/backends.hpp"
#include "megalith/parallel/collectives.hpp"
#include "megalith/parallel/failure_watch.hpp"
#include "megalith/parallel/tcp_store.hpp"

namespace megalith {
namespace {

using namespace std::chrono_literals;

// A rank that waits for rank 0 has itself come up to so much earlier.
constexpr auto kStartSlack = 3s;

std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

std::string address_of(const LaunchEnvironment& environment) {
  return fmt::format("{}:{}", environment.master_addr, environment.master_port);
}

/// The scheduling policy under which gloo's event thread and its user do not wait out each other's
/// slices is set by cli (it concerns the process); here only groups are made.
c10::intrusive_ptr<c10d::Store> open_store(const LaunchEnvironment& environment, bool is_server,
                                           std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(environment.master_port);
  options.isServer = is_server;
  options.numWorkers = static_cast<size_t>(environment.world_size);
  options.waitWorkers = false;
  options.timeout = timeout;
  if (is_server) options.masterListenFd = environment.master_listen_fd;
  auto store = open_tcp_store(environment.master_addr, options);
  return c10::make_intrusive<c10d::PrefixStore>(
      fmt::format("megalith/{}", environment.restart_count), store);
}

/// Blocks SIGPIPE in threads that are started while it lives. Gloo writes to peers that may be
/// dead: that must be an error with a name, not the silent end of this process.
class PipeSignalBlock {
 public:
  PipeSignalBlock() {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before_);
  }
  ~PipeSignalBlock() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  PipeSignalBlock(const PipeSignalBlock&) = delete;
  PipeSignalBlock& operator=(const PipeSignalBlock&) = delete;

 private:
  sigset_t before_;
};

/// For the failure watch: the rank's own thread hangs where no exception can end it.
void end_process(const std::string& message) {
  if (!message.empty()) fmt::print(stderr, "megalith: {}\n", message);
  std::fflush(nullptr);
  std::_Exit(1);
}

std::chrono::milliseconds timeout_of(const DistributedConfig& config) {
  // 0 would mean none to c10d.
  return std::max(1ms,
                  std::chrono::milliseconds(static_cast<int64_t>(config.timeout_minutes * 60e3)));
}

}  // namespace

FieldList DistributedConfig::fields() {
  return {
      {"tensor-model-parallel-size", &tensor_model_parallel_size,
       "Ranks that share each layer (the paper's model parallelism).", at_least(1)},
      {"device", choice(device, {"auto", "cpu", "cuda"}), "Where tensors live."},
      {"distributed-backend", choice(backend, {"auto", "gloo", "nccl"}),
       "Collectives: gloo on CPUs, nccl on GPUs; auto goes by the device."},
      {"num-threads", &num_threads, "CPU threads of each rank.", between(1, 4096),
       "cores / ranks on this host"},
      {"distributed-timeout-minutes", &timeout_minutes,
       "A collective that waits longer ends the run; fractions are allowed.",
       Range{"greater than 0 and at most 100000", [](double x) { return x > 0 && x <= 1e5; }}},
  };
}

bool DistributedConfig::uses_cuda() const {
  return device == DeviceKind::kCuda || (device == DeviceKind::kAuto && cuda_device_count() > 0);
}

int64_t DistributedConfig::threads_of_rank(const LaunchEnvironment& environment) const {
  const auto cores = static_cast<int64_t>(std::thread::hardware_concurrency());
  return num_threads.value_or(std::max<int64_t>(1, cores / environment.local_world_size));
}

void DistributedConfig::check(const LaunchEnvironment& environment, Problems& problems) const {
  check_settings(environment, problems);
  check_device(environment, problems);
}

void DistributedConfig::check_settings(const LaunchEnvironment& environment,
                                       Problems& problems) const {
  make_layout(environment.world_size, tensor_model_parallel_size, problems);
  const bool cuda = uses_cuda();
  if (backend == BackendKind::kNccl && !cuda) {
    problems.add("--distributed-backend nccl needs --device cuda; use gloo on CPUs");
  }
  if (backend == BackendKind::kGloo && cuda) {
    problems.add("--distributed-backend gloo needs --device cpu; use nccl on GPUs");
  }
}

void DistributedConfig::check_device(const LaunchEnvironment& environment,
                                     Problems& problems) const {
  if (device == DeviceKind::kCuda && cuda_device_count() == 0) {
    problems.add("--device cuda: {}; use --device cpu",
                 cuda_compiled_in() ? "no CUDA device is visible" : "this build has no CUDA");
  }
  if (uses_cuda() && cuda_device_count() > 0 &&
      environment.local_world_size > cuda_device_count()) {
    problems.add("{} ranks on this host but {} CUDA device(s); start one rank a device at most",
                 environment.local_world_size, cuda_device_count());
  }
}

struct Distributed::State {
  c10::intrusive_ptr<c10d::Store> store;
  std::chrono::milliseconds timeout{};
  std::unique_ptr<GlooDevice> gloo;
  std::shared_ptr<CallRecord> calls = std::make_shared<CallRecord>();
  std::unique_ptr<FailureWatch> watch;  // last: it goes before the store that it may serve

  /// A wait in the store: noted, and an error of it explained.
  template <class Wait>
  auto waiting(const std::string& what, const Wait& wait) {
    const NotedCall note(*calls, {.operation = what});
    try {
      return wait();
    } catch (const std::exception& error) {
      throw PeerLost(watch->explain(note.call(), first_line(error)));
    }
  }
};

Distributed::Distributed(const DistributedConfig& config, const LaunchEnvironment& environment)
    : environment_(environment), device_(at::kCPU), state_(std::make_unique<State>()) {
  if (config.uses_cuda()) {
    device_ = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(environment.local_rank));
    select_cuda_device(environment.local_rank);
  }
  nccl_ = device_.is_cuda();
  num_threads_ = config.threads_of_rank(environment);
  at::set_num_threads(static_cast<int>(num_threads_));

  Problems problems;
  const Layout layout =
      make_layout(environment.world_size, config.tensor_model_parallel_size, problems);
  problems.raise_if_any();
  const auto timeout = state_->timeout = timeout_of(config);
  const PipeSignalBlock block;
  if (environment.world_size > 1) {
    if (!nccl_) {  // before the store, so that each rank tells its own mistake of an interface
      state_->gloo = std::make_unique<GlooDevice>(
          environment.local_world_size == environment.world_size, environment.gloo_interface);
    }
    connect(timeout);
    join(timeout);
  }
  const auto factory = [&](const std::string& name, int64_t rank,
                           const std::vector<int64_t>& ranks) {
    return make_group(name, rank, ranks, timeout);
  };
  groups_ = std::make_unique<ProcessGroups>(layout, environment.rank, factory, state_->calls);
}

Distributed::~Distributed() = default;

void Distributed::connect(std::chrono::milliseconds timeout) {
  const bool agent = environment_.use_agent_store;
  FailureWatchOptions options;
  options.rank = environment_.rank;
  options.world_size = environment_.world_size;
  options.timeout = timeout;
  options.is_served_by_first = !agent;
  options.store_name = fmt::format("the store at {}, which {} serves", address_of(environment_),
                                   agent ? "the launcher's agent" : "rank 0");
  options.end_process = end_process;
  state_->watch = std::make_unique<FailureWatch>(options, state_->calls);
  state_->calls->set_explain([watch = state_->watch.get()](const Call& call, const std::string& e) {
    return watch->explain(call, e);
  });

  const bool is_server = environment_.rank == 0 && !agent;
  const NotedCall note(*state_->calls, {.operation = "joining " + options.store_name});
  try {
    state_->store = open_store(environment_, is_server, timeout);
    state_->watch->connect(c10::make_intrusive<c10d::PrefixStore>(
        "failure", open_store(environment_, /*is_server=*/false, timeout)));
  } catch (const c10::Error& error) {
    throw RunError("rank {} of {}: {}: {}", environment_.rank, environment_.world_size,
                   is_server ? fmt::format("cannot serve the store at {}", address_of(environment_))
                   : agent   ? fmt::format("cannot reach {}", options.store_name)
                             : fmt::format("rank 0 is missing: nobody serves the store at {}",
                                           address_of(environment_)),
                   first_line(error));
  }
}

/// Returns when all ranks are there. Rank 0 looks who is, and tells the others.
void Distributed::join(std::chrono::milliseconds timeout) {
  auto& store = *state_->store;
  const auto key = [](int64_t rank) { return fmt::format("joined/{}", rank); };
  const NotedCall note(*state_->calls,
                       {.operation = "waiting for all ranks to join", .limit = 2 * kStartSlack});
  std::string verdict;
  try {
    store.set(key(environment_.rank), bytes_of("here"));
    if (environment_.rank != 0) {
      store.wait({"start"}, timeout + kStartSlack);
      const auto text = store.get("start");
      verdict.assign(text.begin(), text.end());
      if (!verdict.empty()) throw RunError("{}", verdict);
      return;
    }
    std::vector<std::string> all;
    for (int64_t rank = 0; rank < environment_.world_size; ++rank) all.push_back(key(rank));
    store.wait(all, timeout);
    store.set("start", bytes_of(""));
    return;
  } catch (const c10::Error& error) {
    verdict = first_line(error);
  }
  // The wait has ended without a word of rank 0's: see who is there.
  std::vector<int64_t> here, missing;
  try {
    for (int64_t rank = 0; rank < environment_.world_size; ++rank) {
      (store.check({key(rank)}) ? here : missing).push_back(rank);
    }
  } catch (const c10::Error&) {
    throw RunError("rank {} of {}: rank 0, which serves the store at {}, is gone: {}",
                   environment_.rank, environment_.world_size, address_of(environment_), verdict);
  }
  verdict = fmt::format(
      "rank {} of {}: {} missing after {:.3g} minutes (--distributed-timeout-minutes); joined: "
      "rank {}",
      environment_.rank, environment_.world_size,
      missing.empty()
          ? "rank 0 has stalled, no rank is"
          : fmt::format("rank {} {}", fmt::join(missing, ", "), missing.size() == 1 ? "is" : "are"),
      static_cast<double>(timeout.count()) / 60e3, fmt::join(here, ", "));
  if (environment_.rank == 0) {
    store.set("start", bytes_of(verdict));
    std::this_thread::sleep_for(1s);  // the others read it before the store goes
  }
  throw RunError("{}", verdict);
}

std::shared_ptr<Communicator> Distributed::make_group(const std::string& name, int64_t rank,
                                                      const std::vector<int64_t>& ranks,
                                                      std::chrono::milliseconds timeout) {
  // Groups of one name are told apart by their first rank.
  auto store = c10::make_intrusive<c10d::PrefixStore>(fmt::format("{}/{}", name, ranks.front()),
                                                      state_->store);
  const auto size = static_cast<int64_t>(ranks.size());
  const NotedCall note(*state_->calls, {.operation = "connecting", .group = name, .ranks = ranks});
  try {
    return nccl_ ? make_nccl_communicator(store, rank, size, timeout)
                 : make_gloo_communicator(store, *state_->gloo, rank, size, timeout);
  } catch (const UsageError&) {
    throw;
  } catch (const std::exception& error) {
    throw PeerLost(state_->watch->explain(note.call(), first_line(error)));
  }
}

void Distributed::post_failure(const std::exception& error) {
  if (state_->watch) state_->watch->post_failure(first_line(error));
}

const char* Distributed::backend_name() const {
  if (environment_.world_size == 1) return "none";
  return nccl_ ? "nccl" : "gloo";
}

void Distributed::require_same(const std::string& what, const std::string& text) {
  if (environment_.world_size == 1) return;
  const auto key = [&](int64_t rank) { return fmt::format("same/{}/{}", what, rank); };
  std::vector<int64_t> different;
  state_->waiting("comparing " + what, [&] {
    state_->store->set(key(environment_.rank), bytes_of(text));
    const auto first = state_->store->get(key(0));
    for (int64_t rank = 1; rank < environment_.world_size; ++rank) {
      if (state_->store->get(key(rank)) != first) different.push_back(rank);
    }
    // Rank 0, which may serve the store, ends after the others have read it.
    const std::string done = "compared/" + what;
    state_->store->add(done, 1);
    const bool is_last_to_go = environment_.rank == 0 && !different.empty();
    for (int i = 0; is_last_to_go && i < 300; ++i, std::this_thread::sleep_for(10ms)) {
      if (state_->store->add(done, 0) == environment_.world_size) break;
    }
  });
  if (!different.empty()) {
    throw UsageError(
        "{} differs between ranks: rank(s) {} were started with other settings than "
        "rank 0; start every rank with the same flags and run file",
        what, fmt::join(different, ", "));
  }
}

void Distributed::report_first(const std::string& what, const std::string& error) {
  if (environment_.world_size == 1) return;
  state_->waiting("telling the end of " + what,
                  [&] { state_->store->set("first/" + what, bytes_of(error)); });
}

void Distributed::wait_for_first(const std::string& what) {
  // Asks again and again, since the store's own wait has a time-out and this work may take hours.
  const std::string key = "first/" + what;
  const std::string alive = fmt::format("failure/{}", FailureWatch::kFirstAliveKey);
  const std::string waiting = "waiting for rank 0 at " + what;
  int64_t last_sign = -1;
  const std::string phase = state_->calls->phase();
  state_->calls->set_phase(waiting);
  auto last_time = std::chrono::steady_clock::now();
  while (!state_->waiting(waiting, [&] { return state_->store->check({key}); })) {
    state_->calls->check();
    const auto sign = state_->waiting(waiting, [&] { return state_->store->add(alive, 0); });
    const auto now = std::chrono::steady_clock::now();
    if (sign != last_sign) last_time = now;
    last_sign = sign;
    if (now - last_time > state_->timeout) {
      const Call call{.operation = waiting, .started = last_time};
      throw PeerLost(state_->watch->explain(call, "no sign of life"));
    }
    std::this_thread::sleep_for(100ms);
  }
  const auto error = state_->waiting(waiting, [&] { return state_->store->get(key); });
  state_->calls->set_phase(phase);
  if (!error.empty()) {
    // Rank 0 is about to post it, and should end first.
    for (int i = 0; i < 30; ++i, std::this_thread::sleep_for(100ms)) state_->calls->check();
    throw PeerLost("rank {}: rank 0 failed at {}: {}", environment_.rank, what,
                   std::string(error.begin(), error.end()));
  }
}

}  // namespace megalith

// Joins this process to its run: the store, the process groups and the device.
//
// What a launcher left in the environment (launch.hpp) and the flags (DistributedConfig) become
// ProcessGroups. Nothing below knows how it was started. One process alone opens no socket.
#pragma once

#include <c10/core/Device.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "megalith/core/fields.hpp"
#include "megalith/parallel/launch.hpp"
#include "megalith/parallel/process_groups.hpp"

namespace megalith {

enum class DeviceKind { kAuto, kCpu, kCuda };
enum class BackendKind { kAuto, kGloo, kNccl };

struct DistributedConfig {
  int64_t tensor_model_parallel_size = 1;
  DeviceKind device = DeviceKind::kAuto;
  BackendKind backend = BackendKind::kAuto;
  std::optional<int64_t> num_threads;
  double timeout_minutes = 10.0;

  FieldList fields();
  /// By the flag, or by what the machine has.
  bool uses_cuda() const;
  /// CPU threads of each rank: by the flag, else the cores of this host shared among its ranks.
  int64_t threads_of_rank(const LaunchEnvironment& environment) const;
  /// Everything that can be wrong before a device or socket is touched.
  void check(const LaunchEnvironment& environment, Problems& problems) const;
  /// The parts of check(): what holds on every machine, and what this one must have.
  void check_settings(const LaunchEnvironment& environment, Problems& problems) const;
  void check_device(const LaunchEnvironment& environment, Problems& problems) const;
};

class Distributed {
 public:
  /// Communicates: world, every rank must call. Throws RunError naming the missing ranks when not
  /// all have come within the time-out. Sets the number of threads of this process and its current
  /// CUDA device. From here on a rank that is dead or stalled ends this one (failure_watch.hpp).
  Distributed(const DistributedConfig& config, const LaunchEnvironment& environment);
  ~Distributed();
  Distributed(const Distributed&) = delete;
  Distributed& operator=(const Distributed&) = delete;

  const ProcessGroups& groups() const { return *groups_; }
  at::Device device() const { return device_; }
  const LaunchEnvironment& environment() const { return environment_; }
  int64_t num_threads() const { return num_threads_; }
  const char* backend_name() const;

  /// Runs the rank's work; what it throws is told to the other ranks, so that they name it.
  template <class Body>
  void run(const Body& body) {
    try {
      body();
    } catch (const PeerLost&) {
      throw;  // another rank's failure
    } catch (const std::exception& error) {
      post_failure(error);
      throw;
    }
  }

  /// Throws UsageError on every rank when some rank's text differs from rank 0's, naming the ranks.
  /// Communicates through the store, not a collective: every rank must call.
  void require_same(const std::string& what, const std::string& text);

  /// Rank 0 calls `work`; the others wait for it through the store, for as long as rank 0 gives
  /// signs of life, and learn of a failure as a PeerLost.
  template <class Work>
  void on_first_rank(const std::string& what, const Work& work) {
    if (environment_.rank != 0) return wait_for_first(what);
    try {
      work();
    } catch (const std::exception& error) {
      report_first(what, error.what());
      throw;
    }
    report_first(what, "");
  }

 private:
  struct State;
  void wait_for_first(const std::string& what);
  void report_first(const std::string& what, const std::string& error);
  void post_failure(const std::exception& error);
  void connect(std::chrono::milliseconds timeout);
  void join(std::chrono::milliseconds timeout);
  std::shared_ptr<Communicator> make_group(const std::string& name, int64_t rank,
                                           const std::vector<int64_t>& ranks,
                                           std::chrono::milliseconds timeout);

  LaunchEnvironment environment_;
  at::Device device_;
  bool nccl_ = false;
  int64_t num_threads_ = 1;
  std::unique_ptr<State> state_;
  std::unique_ptr<ProcessGroups> groups_;
};

}  // namespace megalith

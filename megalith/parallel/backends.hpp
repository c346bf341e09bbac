// The c10d backends a group can run on, each made in one source file so that its heavy or optional
// headers stay there: gloo_backend.cpp, and nccl_backend.cpp or nccl_missing.cpp.
#pragma once

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "megalith/parallel/process_groups.hpp"

namespace c10d {
class Store;
}

namespace megalith {

/// One network device of gloo, shared by all groups of a rank.
class GlooDevice {
 public:
  /// On one host the loopback; else the named interface (GLOO_SOCKET_IFNAME), else the host's name.
  GlooDevice(bool one_host, const std::optional<std::string>& interface);
  ~GlooDevice();
  struct State;
  const State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

/// A gloo group over `store`, whose prefix must be the group's own.
std::shared_ptr<Communicator> make_gloo_communicator(c10::intrusive_ptr<c10d::Store> store,
                                                     const GlooDevice& device, int64_t rank,
                                                     int64_t size,
                                                     std::chrono::milliseconds timeout);

/// Whether this build can use CUDA and NCCL at all.
bool cuda_compiled_in();
/// Devices the driver offers; 0 without CUDA.
int64_t cuda_device_count();
/// Makes `index` the calling thread's current CUDA device.
void select_cuda_device(int64_t index);
/// An NCCL group on the current device. Throws UsageError when this build has no NCCL.
std::shared_ptr<Communicator> make_nccl_communicator(c10::intrusive_ptr<c10d::Store> store,
                                                     int64_t rank, int64_t size,
                                                     std::chrono::milliseconds timeout);

}  // namespace megalith

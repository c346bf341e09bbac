// Includes ProcessGroupGloo.hpp, and with it the stand-in headers of gloo, in this one place.
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "megalith/parallel/backends.hpp"
#include "megalith/parallel/collectives.hpp"

namespace megalith {

struct GlooDevice::State {
  std::shared_ptr<::gloo::transport::Device> device;
};

GlooDevice::GlooDevice(bool one_host, const std::optional<std::string>& interface)
    : state_(std::make_unique<State>()) {
  if (interface) {
    try {
      state_->device = c10d::ProcessGroupGloo::createDeviceForInterface(*interface);
    } catch (const std::exception&) {
      throw UsageError(
          "GLOO_SOCKET_IFNAME={}: no interface of that name has an address; `ip address` lists "
          "them",
          *interface);
    }
  } else if (one_host) {
    state_->device = c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  } else {
    state_->device = c10d::ProcessGroupGloo::createDefaultDevice();
  }
}
GlooDevice::~GlooDevice() = default;

std::shared_ptr<Communicator> make_gloo_communicator(c10::intrusive_ptr<c10d::Store> store,
                                                     const GlooDevice& device, int64_t rank,
                                                     int64_t size,
                                                     std::chrono::milliseconds timeout) {
  auto options = c10d::ProcessGroupGloo::Options::create(timeout);
  options->devices = {device.state().device};
  options->threads = 1;  // keeps the order of overlapping collectives
  return make_communicator(
      c10::make_intrusive<c10d::ProcessGroupGloo>(std::move(store), static_cast<int>(rank),
                                                  static_cast<int>(size), options),
      WaitKind::kInSlices);
}

}  // namespace megalith

// The CUDA build's side of backends.hpp.
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAFunctions.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "megalith/parallel/backends.hpp"
#include "megalith/parallel/collectives.hpp"

namespace megalith {

bool cuda_compiled_in() { return true; }
int64_t cuda_device_count() { return c10::cuda::device_count(); }
void select_cuda_device(int64_t index) {
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(index));
}

std::shared_ptr<Communicator> make_nccl_communicator(c10::intrusive_ptr<c10d::Store> store,
                                                     int64_t rank, int64_t size,
                                                     std::chrono::milliseconds timeout) {
  auto options = c10d::ProcessGroupNCCL::Options::create();
  // c10d's own watchdog ends the process by SIGABRT: FailureWatch, which sees the same calls
  // through their is_done, must come first with its message.
  options->timeout = timeout + std::chrono::minutes(1);
  return make_communicator(c10::make_intrusive<c10d::ProcessGroupNCCL>(
      std::move(store), static_cast<int>(rank), static_cast<int>(size), options));
}

}  // namespace megalith

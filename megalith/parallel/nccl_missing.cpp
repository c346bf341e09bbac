// The build without CUDA: says so instead of nccl_backend.cpp.
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "megalith/parallel/backends.hpp"

namespace megalith {

bool cuda_compiled_in() { return false; }
int64_t cuda_device_count() { return 0; }
void select_cuda_device(int64_t) {}

std::shared_ptr<Communicator> make_nccl_communicator(c10::intrusive_ptr<c10d::Store>, int64_t,
                                                     int64_t, std::chrono::milliseconds) {
  throw UsageError("--distributed-backend nccl: this build has no CUDA; build the cuda preset");
}

}  // namespace megalith

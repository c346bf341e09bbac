#include "megalith/checkpoint/agreement.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

constexpr int64_t kFailureBytes = 4096;  // of a rank's message that travel to the others
constexpr int64_t kShownFailures = 4;

}  // namespace

Failures gather_failures(const std::string& failure, const Group& world, at::Device device) {
  at::Tensor num_failed = at::full({1}, failure.empty() ? 0 : 1, at::kLong).to(device);
  all_reduce(num_failed, world);
  Failures failures{num_failed.item<int64_t>(), ""};
  if (failures.num_failed == 0) return failures;
  at::Tensor text = at::zeros({kFailureBytes}, at::kByte);
  std::memcpy(text.data_ptr(), failure.data(),
              std::min(failure.size(), static_cast<size_t>(kFailureBytes - 1)));
  const at::Tensor texts = all_gather(text.to(device), world).to(at::kCPU);
  std::string previous;
  int64_t shown = 0;
  for (int64_t rank = 0; rank < world.size() && shown < kShownFailures; ++rank) {
    const at::Tensor row = texts.select(0, rank).contiguous();
    const std::string message(static_cast<const char*>(row.data_ptr()));
    if (message.empty() || message == previous) continue;
    previous = message;
    failures.text += shown++ > 0 ? "; " : "";
    failures.text += world.size() > 1 ? fmt::format("rank {}: {}", rank, message) : message;
  }
  return failures;
}

std::string shared_token(const Group& world, at::Device device) {
  std::random_device random;
  at::Tensor message = at::empty({1}, at::kLong);
  message[0] = (static_cast<int64_t>(random()) << 32) | random();
  message = message.to(device);
  broadcast(message, world, 0);
  return fmt::format("{:016x}", static_cast<uint64_t>(message.to(at::kCPU).item<int64_t>()));
}

}  // namespace megalith

#include "megalith/data/numpy_random.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

constexpr uint64_t kMaxU32 = std::numeric_limits<uint32_t>::max();

uint32_t checked_seed(int64_t seed) {
  if (seed < 0 || seed > static_cast<int64_t>(kMaxU32)) {
    throw UsageError("--seed {}: the order of samples needs a seed from 0 to {}", seed, kMaxU32);
  }
  return static_cast<uint32_t>(seed);
}

}  // namespace

RandomState::RandomState(int64_t seed) : generator_(checked_seed(seed)) {}

double RandomState::random() {
  const uint32_t a = next_u32() >> 5;
  const uint32_t b = next_u32() >> 6;
  return (a * 67108864.0 + b) / 9007199254740992.0;
}

uint64_t RandomState::interval(uint64_t max) {
  if (max == 0) return 0;
  const uint64_t mask = std::numeric_limits<uint64_t>::max() >> std::countl_zero(max);
  uint64_t value = 0;
  do {
    value = next_u32();
    if (max > kMaxU32) value = (value << 32) | next_u32();
    value &= mask;
  } while (value > max);
  return value;
}

int64_t RandomState::randint(int64_t low, int64_t high) {
  if (low >= high) throw std::invalid_argument(fmt::format("randint({}, {})", low, high));
  return low + static_cast<int64_t>(interval(static_cast<uint64_t>(high - low) - 1));
}

int64_t RandomState::choice(std::span<const double> probabilities) {
  std::vector<double> bounds;
  double sum = 0;
  for (const double p : probabilities) bounds.push_back(sum += p);
  const double draw = random();
  int64_t index = 0;
  for (const double bound : bounds) index += bound / sum <= draw ? 1 : 0;
  return index;
}

int64_t RandomState::geometric(double p) {
  return static_cast<int64_t>(std::ceil(std::log1p(-random()) / std::log1p(-p)));
}

}  // namespace megalith

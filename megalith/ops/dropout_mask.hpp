// The mask of dropout as a function of a key and of an element's place: nothing is stored for
// backward, and any number of threads gives the same bits.
//
// Philox4x32 with 10 rounds (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011),
// sixteen counters at a time so that the compiler uses vector instructions. For loops on CPUs; GPUs
// and double draw from LibTorch's generators: elementwise.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "megalith/ops/simd.hpp"

namespace megalith::ops {

/// Elements of one draw.
constexpr int64_t kMaskBlock = 4 * kLanes;

/// Which elements stay, and by what they are multiplied then.
struct DropoutMask {
  uint64_t key = 0;
  uint32_t threshold = 0;  // of 2^32: an element stays when its word is below
  float scale = 1;         // 1 / probability of staying

  static DropoutMask of(double probability, uint64_t key) {
    const double keep = 1.0 - probability;
    const double threshold = std::min(std::round(keep * 0x1p32), 0x1p32 - 1);
    return {key, static_cast<uint32_t>(threshold), static_cast<float>(1.0 / keep)};
  }
};

/// factors[i] = scale or 0 for the elements 64 * block + i.
MEGALITH_INLINE void mask_factors(const DropoutMask& mask, uint64_t block, float* factors) {
  uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  const uint64_t first = block * kLanes;
  for (int64_t l = 0; l < kLanes; ++l) {
    c0[l] = static_cast<uint32_t>(first) + static_cast<uint32_t>(l);  // 16 divides 2^32: no carry
    c1[l] = static_cast<uint32_t>(first >> 32);
    c2[l] = c3[l] = 0;
  }
  auto k0 = static_cast<uint32_t>(mask.key), k1 = static_cast<uint32_t>(mask.key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int64_t l = 0; l < kLanes; ++l) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c0[l], p1 = uint64_t{0xCD9E8D57u} * c2[l];
      c0[l] = static_cast<uint32_t>(p1 >> 32) ^ c1[l] ^ k0;
      c2[l] = static_cast<uint32_t>(p0 >> 32) ^ c3[l] ^ k1;
      c1[l] = static_cast<uint32_t>(p1);
      c3[l] = static_cast<uint32_t>(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int64_t l = 0; l < kLanes; ++l) {
    factors[l] = c0[l] < mask.threshold ? mask.scale : 0.0f;
    factors[kLanes + l] = c1[l] < mask.threshold ? mask.scale : 0.0f;
    factors[2 * kLanes + l] = c2[l] < mask.threshold ? mask.scale : 0.0f;
    factors[3 * kLanes + l] = c3[l] < mask.threshold ? mask.scale : 0.0f;
  }
}

}  // namespace megalith::ops

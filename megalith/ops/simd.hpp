// Loops over contiguous numbers that the compiler turns into vector instructions.
//
// A function marked MEGALITH_SIMD is compiled for AVX-512, AVX2 and the base instruction set; the
// loader takes the best one the processor has. Inside it, reductions keep kLanes partial results,
// since the compiler may not reorder a sum by itself. Not for GPUs and not for double: those go
// through LibTorch.
#pragma once

#include <c10/util/BFloat16.h>

#include <bit>
#include <cstdint>
#include <limits>

// The sanitizers' own start-up cannot run before the loader has chosen.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define MEGALITH_SIMD [[gnu::target_clones("avx512f", "avx2", "default")]]
#else
#define MEGALITH_SIMD
#endif
#define MEGALITH_INLINE [[gnu::always_inline]] inline

namespace megalith::ops {

constexpr int64_t kLanes = 16;

MEGALITH_INLINE float load(const float* x) { return *x; }
MEGALITH_INLINE float load(const c10::BFloat16* x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x->x) << 16);
}

MEGALITH_INLINE void store(float* x, float value) { *x = value; }
/// Rounds to nearest, ties to even; NaN stays NaN.
MEGALITH_INLINE void store(c10::BFloat16* x, float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  x->x = static_cast<uint16_t>(value != value ? 0x7fc0u : rounded);
}

/// e^x within 2 units in the last place; 0 below -87.3, infinity above 88.7. Reduction by
/// multiples of ln 2 in two parts (Cody and Waite), then a polynomial of degree 6.
MEGALITH_INLINE float exponential(float x) {
  const float bounded = x < -87.33654f ? -87.33654f : (x > 88.72283f ? 88.72283f : x);
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the integer in the low bits
  const float shifted = bounded * 1.44269504088896341f + kRound;
  const float n = shifted - kRound;
  const float r = (bounded - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float mantissa = p * r * r + r + 1.0f;
  // 2^n in two steps, for n = 128 has no float.
  const auto exponent = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
  const int32_t half = exponent >> 1;
  const float low = std::bit_cast<float>((half + 127) << 23);
  const float high = std::bit_cast<float>((exponent - half + 127) << 23);
  const float y = mantissa * low * high;
  return x < -87.33654f ? 0.0f : (x > 88.72283f ? std::bit_cast<float>(0x7f800000) : y);
}

/// The largest of n numbers; NaN when one is that.
template <class T>
MEGALITH_INLINE float maximum_loop(const T* x, int64_t n) {
  float lanes[kLanes];
  for (auto& lane : lanes) lane = -std::numeric_limits<float>::infinity();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) {
      const float value = load(x + i + l);
      lanes[l] = value > lanes[l] || value != value ? value : lanes[l];
    }
  }
  float best = lanes[0];
  for (int64_t l = 1; l < kLanes; ++l)
    best = lanes[l] > best || lanes[l] != lanes[l] ? lanes[l] : best;
  for (; i < n; ++i) {
    const float value = load(x + i);
    best = value > best || value != value ? value : best;
  }
  return best;
}

}  // namespace megalith::ops

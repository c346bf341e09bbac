#include "megalith/ops/attention_rows.hpp"

#include <algorithm>

#include "megalith/ops/simd.hpp"

namespace megalith::ops {

template <class T>
MEGALITH_INLINE void gather_loop(const T* x, int64_t x_row, int64_t rows, int64_t size, float scale,
                                 float* to) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t d = 0; d < size; ++d) to[i * size + d] = load(x + i * x_row + d) * scale;
  }
}
MEGALITH_SIMD void gather_rows(const float* x, int64_t x_row, int64_t rows, int64_t size,
                               float scale, float* to) {
  gather_loop(x, x_row, rows, size, scale, to);
}
MEGALITH_SIMD void gather_rows(const at::BFloat16* x, int64_t x_row, int64_t rows, int64_t size,
                               float scale, float* to) {
  gather_loop(x, x_row, rows, size, scale, to);
}

template <class T>
MEGALITH_INLINE void scatter_loop(const float* x, int64_t rows, int64_t size, T* to,
                                  int64_t to_row) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t d = 0; d < size; ++d) store(to + i * to_row + d, x[i * size + d]);
  }
}
MEGALITH_SIMD void scatter_rows(const float* x, int64_t rows, int64_t size, float* to,
                                int64_t to_row) {
  scatter_loop(x, rows, size, to, to_row);
}
MEGALITH_SIMD void scatter_rows(const float* x, int64_t rows, int64_t size, at::BFloat16* to,
                                int64_t to_row) {
  scatter_loop(x, rows, size, to, to_row);
}

MEGALITH_SIMD void transpose(const float* x, int64_t rows, int64_t columns, float* to) {
  constexpr int64_t kTile = 16;
  for (int64_t i0 = 0; i0 < rows; i0 += kTile) {
    const int64_t i1 = std::min(i0 + kTile, rows);
    for (int64_t j0 = 0; j0 < columns; j0 += kTile) {
      const int64_t j1 = std::min(j0 + kTile, columns);
      for (int64_t j = j0; j < j1; ++j) {
        for (int64_t i = i0; i < i1; ++i) to[j * rows + i] = x[i * columns + j];
      }
    }
  }
}

MEGALITH_SIMD float exponentiate(float* x, int64_t n, float top) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) {
      x[i + l] = exponential(x[i + l] - top);
      lanes[l] += x[i + l];
    }
  }
  float sum = 0;
  for (; i < n; ++i) sum += x[i] = exponential(x[i] - top);
  for (const float lane : lanes) sum += lane;
  return sum;
}

MEGALITH_SIMD float largest(const float* x, int64_t n) { return maximum_loop(x, n); }

MEGALITH_SIMD void scale_row(float* x, int64_t n, float factor) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

MEGALITH_SIMD float dot(const float* x, const float* y, int64_t n) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += x[i + l] * y[i + l];
  }
  float sum = 0;
  for (; i < n; ++i) sum += x[i] * y[i];
  for (const float lane : lanes) sum += lane;
  return sum;
}

MEGALITH_SIMD void score_slopes(float* scores, float* slopes, int64_t n, float log_sum,
                                float mean) {
  for (int64_t i = 0; i < n; ++i) {
    scores[i] = exponential(scores[i] - log_sum);
    slopes[i] = scores[i] * (slopes[i] - mean);
  }
}

MEGALITH_SIMD void mask_row(float* x, int64_t size, const DropoutMask& mask, uint64_t block) {
  float factors[kMaskBlock];
  for (int64_t start = 0; start < size; start += kMaskBlock, ++block) {
    mask_factors(mask, block, factors);
    for (int64_t i = 0; i < kMaskBlock; ++i) x[start + i] *= factors[i];
  }
}

}  // namespace megalith::ops

// The loops over rows of numbers that attention in blocks is made of, beside its matrix products.
//
// Compiled for several instruction sets (simd.hpp). blocked_attention.hpp puts them together.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>

#include "megalith/ops/dropout_mask.hpp"

namespace megalith::ops {

/// x [rows, size] at distances x_row, times `scale`, to the dense `to`.
void gather_rows(const float* x, int64_t x_row, int64_t rows, int64_t size, float scale, float* to);
void gather_rows(const at::BFloat16* x, int64_t x_row, int64_t rows, int64_t size, float scale,
                 float* to);

/// The dense x [rows, size] to `to` at distances to_row.
void scatter_rows(const float* x, int64_t rows, int64_t size, float* to, int64_t to_row);
void scatter_rows(const float* x, int64_t rows, int64_t size, at::BFloat16* to, int64_t to_row);

/// x [rows, columns] -> to [columns, rows], in tiles that stay in the first cache.
void transpose(const float* x, int64_t rows, int64_t columns, float* to);

/// Turns a row of scores into exp(score - top) and returns their sum.
float exponentiate(float* x, int64_t n, float top);

/// NaN when one is that.
float largest(const float* x, int64_t n);

void scale_row(float* x, int64_t n, float factor);

float dot(const float* x, const float* y, int64_t n);

/// scores -> probabilities exp(score - log_sum), slopes -> probability * (slope - mean).
void score_slopes(float* scores, float* slopes, int64_t n, float log_sum, float mean);

/// Multiplies a row of `size` (whole blocks) by its part of the mask, which starts at `block`.
void mask_row(float* x, int64_t size, const DropoutMask& mask, uint64_t block);

}  // namespace megalith::ops

#include "megalith/ops/cross_entropy.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>

#include "megalith/ops/simd.hpp"

namespace megalith::ops {
namespace {

at::ScalarType exact_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// True where the loops below apply; else LibTorch's operators do the same in several passes.
bool has_loops(const at::Tensor& logits) {
  const auto type = logits.scalar_type();
  return logits.device().is_cpu() && logits.is_contiguous() &&
         (type == at::kFloat || type == at::kBFloat16);
}

template <class T>
MEGALITH_INLINE double sum_loop(const T* x, int64_t n, float maximum) {
  constexpr int64_t kBlock = 4096;  // fp32 inside a block, double across
  double total = 0;
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t end = start + kBlock < n ? start + kBlock : n;
    float lanes[kLanes] = {};
    int64_t i = start;
    for (; i + kLanes <= end; i += kLanes) {
      for (int64_t l = 0; l < kLanes; ++l) lanes[l] += exponential(load(x + i + l) - maximum);
    }
    for (; i < end; ++i) total += static_cast<double>(exponential(load(x + i) - maximum));
    for (const float lane : lanes) total += static_cast<double>(lane);
  }
  return total;
}

template <class T>
MEGALITH_INLINE void softmax_loop(T* x, int64_t n, float maximum, float scale) {
  for (int64_t i = 0; i < n; ++i) store(x + i, exponential(load(x + i) - maximum) * scale);
}

MEGALITH_SIMD float maximum_of(const float* x, int64_t n) { return maximum_loop(x, n); }
MEGALITH_SIMD float maximum_of(const at::BFloat16* x, int64_t n) { return maximum_loop(x, n); }
MEGALITH_SIMD double sum_of(const float* x, int64_t n, float maximum) {
  return sum_loop(x, n, maximum);
}
MEGALITH_SIMD double sum_of(const at::BFloat16* x, int64_t n, float maximum) {
  return sum_loop(x, n, maximum);
}
MEGALITH_SIMD void to_softmax(float* x, int64_t n, float maximum, float scale) {
  softmax_loop(x, n, maximum, scale);
}
MEGALITH_SIMD void to_softmax(at::BFloat16* x, int64_t n, float maximum, float scale) {
  softmax_loop(x, n, maximum, scale);
}

/// body(row, pointer to the row's first entry), rows shared out among the threads.
template <class T, class Body>
void for_rows_of(const at::Tensor& logits, const Body& body) {
  T* const data = static_cast<T*>(logits.data_ptr());
  const int64_t columns = logits.size(1);
  at::parallel_for(0, logits.size(0), 1, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) body(row, data + row * columns);
  });
}
template <class Body>
void for_rows(const at::Tensor& logits, const Body& body) {
  if (logits.scalar_type() == at::kFloat) {
    for_rows_of<float>(logits, body);
  } else {
    for_rows_of<at::BFloat16>(logits, body);
  }
}

/// Column of each target in the slice (0 outside it) and whether it lies inside.
std::pair<at::Tensor, at::Tensor> local_columns(const at::Tensor& targets, int64_t first,
                                                int64_t valid) {
  const at::Tensor inside = targets.ge(first).logical_and_(targets.lt(first + valid));
  return {(targets - first).masked_fill_(inside.logical_not(), 0), inside};
}

}  // namespace

at::Tensor row_max(const at::Tensor& logits, int64_t valid) {
  const auto options = logits.options().dtype(exact_type(logits));
  if (valid == 0) {
    return at::full({logits.size(0)}, -std::numeric_limits<double>::infinity(), options);
  }
  if (!has_loops(logits)) return logits.narrow(1, 0, valid).amax(-1).to(exact_type(logits));
  const at::Tensor maximum = at::empty({logits.size(0)}, options);
  float* const out = maximum.mutable_data_ptr<float>();
  for_rows(logits, [&](int64_t row, const auto* x) { out[row] = maximum_of(x, valid); });
  return maximum;
}

at::Tensor exponential_sums(const at::Tensor& logits, const at::Tensor& maximum, int64_t valid) {
  if (!has_loops(logits)) {
    const at::Tensor exact = logits.narrow(1, 0, valid).to(exact_type(logits));
    return (exact - maximum.unsqueeze(-1)).exp_().sum(-1);
  }
  const at::Tensor sums = at::empty_like(maximum);
  const float* const top = maximum.const_data_ptr<float>();
  float* const out = sums.mutable_data_ptr<float>();
  for_rows(logits, [&](int64_t row, const auto* x) {
    out[row] = static_cast<float>(sum_of(x, valid, top[row]));
  });
  return sums;
}

at::Tensor target_logits(const at::Tensor& logits, const at::Tensor& targets, int64_t first,
                         int64_t valid, const at::Tensor& maximum) {
  const auto [columns, inside] = local_columns(targets, first, valid);
  const at::Tensor picked = logits.gather(-1, columns.unsqueeze(-1)).squeeze(-1);
  return (picked.to(maximum.scalar_type()) - maximum).masked_fill_(inside.logical_not(), 0);
}

void cross_entropy_gradient_(at::Tensor& logits, const at::Tensor& maximum, const at::Tensor& sums,
                             const at::Tensor& targets, int64_t first, int64_t valid,
                             const at::Tensor& loss_gradient) {
  const at::Tensor scale = (loss_gradient / sums).to(maximum.scalar_type()).contiguous();
  const int64_t columns = logits.size(1);
  if (!has_loops(logits)) {
    const auto [column, inside] = local_columns(targets, first, valid);
    at::Tensor exact = (logits.to(exact_type(logits)) - maximum.unsqueeze(-1)).exp_();
    exact.mul_(scale.unsqueeze(-1)).narrow(1, valid, columns - valid).zero_();
    exact.scatter_add_(-1, column.unsqueeze(-1),
                       (-loss_gradient * inside).to(exact.scalar_type()).unsqueeze(-1));
    logits.copy_(exact);
    return;
  }
  const at::Tensor slopes = loss_gradient.to(at::kFloat).contiguous();
  const float *const top = maximum.const_data_ptr<float>(),
                     *const factor = scale.const_data_ptr<float>(),
                     *const slope = slopes.const_data_ptr<float>();
  const at::Tensor ids = targets.contiguous();
  const int64_t* const target = ids.const_data_ptr<int64_t>();
  for_rows(logits, [&](int64_t row, auto* x) {
    const int64_t column = target[row] - first;
    const bool inside = column >= 0 && column < valid;
    const float picked = inside ? load(x + column) : 0;
    to_softmax(x, valid, top[row], factor[row]);
    std::fill(x + valid, x + columns, 0.0f);
    // From the unrounded probability, so that bf16 rounds once.
    if (inside) store(x + column, exponential(picked - top[row]) * factor[row] - slope[row]);
  });
}

}  // namespace megalith::ops

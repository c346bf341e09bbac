// The pieces of softmax cross entropy over a slice of the vocabulary that need no communication.
//
// layers/vocab_parallel.hpp joins them with the three all-reduces of the paper (section 3). All
// work in fp32, or double for double logits. A slice has `valid` columns that are real ids, then
// padding, which counts as -infinity. Nothing of the logits' size is allocated: their gradient
// takes their place.
#pragma once

#include <ATen/core/Tensor.h>

namespace megalith::ops {

/// logits [N, V] -> the largest of the valid entries of each row [N]; -infinity when there are
/// none.
at::Tensor row_max(const at::Tensor& logits, int64_t valid);

/// Sum over the valid entries of exp(logits - maximum), for each row: [N].
at::Tensor exponential_sums(const at::Tensor& logits, const at::Tensor& maximum, int64_t valid);

/// logits[i, targets[i] - first] - maximum[i] where the target lies in [first, first + valid), else
/// 0: [N].
at::Tensor target_logits(const at::Tensor& logits, const at::Tensor& targets, int64_t first,
                         int64_t valid, const at::Tensor& maximum);

/// Overwrites `logits` with (exp(logits - maximum) / sums - onehot(targets)) * loss_gradient, and
/// with 0 in the padding.
void cross_entropy_gradient_(at::Tensor& logits, const at::Tensor& maximum, const at::Tensor& sums,
                             const at::Tensor& targets, int64_t first, int64_t valid,
                             const at::Tensor& loss_gradient);

}  // namespace megalith::ops

// The pieces of softmax cross entropy over a slice of the vocabulary that need no communication.
//
// layers/vocab_parallel.hpp joins them with the three all-reduces of the paper (section 3). All
// work in fp32, or double for double logits.
#pragma once

#include <ATen/core/Tensor.h>

namespace megalith::ops {

/// logits [N, V] -> their largest entry in each row [N].
at::Tensor row_max(const at::Tensor& logits);

/// exp(logits - maximum) in fp32 or double: [N, V]; `sums` [N] receives the row sums.
at::Tensor shifted_exponentials(const at::Tensor& logits, const at::Tensor& maximum,
                                at::Tensor& sums);

/// logits[i, targets[i] - first] - maximum[i] where the target lies in [first, first + V), else 0:
/// [N].
at::Tensor target_logits(const at::Tensor& logits, const at::Tensor& targets, int64_t first,
                         const at::Tensor& maximum);

/// (exponentials / sums - onehot(targets)) * loss_gradient, in `dtype`; overwrites `exponentials`.
at::Tensor cross_entropy_gradient(at::Tensor exponentials, const at::Tensor& sums,
                                  const at::Tensor& targets, int64_t first,
                                  const at::Tensor& loss_gradient, at::ScalarType dtype);

}  // namespace megalith::ops

// The update of Adam with decoupled weight decay, and of SGD with momentum, on flat tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace megalith::ops {

struct AdamStep {
  double learning_rate, beta1, beta2, epsilon, weight_decay;
  int64_t step;           // 1 for the first update
  double gradient_scale;  // multiplies the gradient first: 1/loss scale times the clip coefficient
};

/// In place on `parameter`, `moment1`, `moment2` (fp32 or double, same shape, contiguous):
/// p -= lr * (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + wd * p).
/// `rounded`, when defined, receives the new parameter in its own narrower dtype.
/// LibTorch's kernel (GPUs) leaves `gradient` multiplied by gradient_scale: do not read it
/// afterwards.
void adam_update(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& moment1,
                 at::Tensor& moment2, at::Tensor& rounded, const AdamStep& step);

struct SgdStep {
  double learning_rate, momentum, weight_decay, gradient_scale;
  bool first;  // the momentum buffer starts as the first gradient
};

/// In place: g = gradient * scale + wd * p; b = momentum * b + g; p -= lr * b.
void sgd_update(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& momentum,
                const SgdStep& step);

}  // namespace megalith::ops

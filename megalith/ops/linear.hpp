// Matrix products of linear layers: forward and the three gradients, as plain functions.
//
// No autograd and no ranks: layers/parallel_linear.hpp builds the differentiable, parallel layer
// from these. fp32 on CPUs goes to oneDNN, since the MKL inside LibTorch takes a slow path on some
// of them (twice the time on AMD); everything else is the best LibTorch call.
#pragma once

#include <ATen/core/Tensor.h>

namespace megalith::ops {

/// input [..., I], weight [O, I], bias [O] or undefined -> [..., O].
at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias);

/// output_gradient [..., O], weight [O, I] -> [..., I].
at::Tensor linear_input_gradient(const at::Tensor& output_gradient, const at::Tensor& weight);

/// output_gradient [..., O], input [..., I] -> [O, I].
at::Tensor linear_weight_gradient(const at::Tensor& output_gradient, const at::Tensor& input);

/// The same, added to `gradient` [O, I] in its own dtype.
void add_linear_weight_gradient(at::Tensor& gradient, const at::Tensor& output_gradient,
                                const at::Tensor& input);

/// output_gradient [..., O] -> [O].
at::Tensor linear_bias_gradient(const at::Tensor& output_gradient);

}  // namespace megalith::ops

// Matrix products of linear layers: forward and the three gradients, as plain functions.
//
// No autograd and no ranks: layers/parallel_linear.hpp builds the differentiable, parallel layer
// from these. First form: the best LibTorch call for each.
#pragma once

#include <ATen/core/Tensor.h>

namespace megalith::ops {

/// input [..., I], weight [O, I], bias [O] or undefined -> [..., O].
at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias);

/// output_gradient [..., O], weight [O, I] -> [..., I].
at::Tensor linear_input_gradient(const at::Tensor& output_gradient, const at::Tensor& weight);

/// output_gradient [..., O], input [..., I] -> [O, I].
at::Tensor linear_weight_gradient(const at::Tensor& output_gradient, const at::Tensor& input);

/// output_gradient [..., O] -> [O].
at::Tensor linear_bias_gradient(const at::Tensor& output_gradient);

}  // namespace megalith::ops

#include "megalith/ops/linear.hpp"

#include <ATen/ATen.h>

namespace megalith::ops {
namespace {
at::Tensor as_matrix(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}); }
}  // namespace

at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
  return at::linear(input, weight, bias.defined() ? std::make_optional(bias) : std::nullopt);
}

at::Tensor linear_input_gradient(const at::Tensor& output_gradient, const at::Tensor& weight) {
  return at::matmul(output_gradient, weight);
}

at::Tensor linear_weight_gradient(const at::Tensor& output_gradient, const at::Tensor& input) {
  return at::mm(as_matrix(output_gradient).t(), as_matrix(input));
}

at::Tensor linear_bias_gradient(const at::Tensor& output_gradient) {
  return as_matrix(output_gradient).sum(0);
}

}  // namespace megalith::ops

#include "megalith/ops/linear.hpp"

#include <ATen/ATen.h>

namespace megalith::ops {
namespace {

at::Tensor as_matrix(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}); }

/// CPUs multiply fp16 element by element, a hundred times slower than fp32; the products are taken
/// in fp32 there and rounded to fp16, which is what a GPU's fp32 accumulation does.
bool widens(const at::Tensor& x) { return x.scalar_type() == at::kHalf && x.device().is_cpu(); }
at::Tensor wide(const at::Tensor& x) { return x.defined() && widens(x) ? x.to(at::kFloat) : x; }

}  // namespace

at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
  const auto row = bias.defined() ? std::make_optional(wide(bias)) : std::nullopt;
  return at::linear(wide(input), wide(weight), row).to(input.scalar_type());
}

at::Tensor linear_input_gradient(const at::Tensor& output_gradient, const at::Tensor& weight) {
  return at::matmul(wide(output_gradient), wide(weight)).to(weight.scalar_type());
}

at::Tensor linear_weight_gradient(const at::Tensor& output_gradient, const at::Tensor& input) {
  return at::mm(as_matrix(wide(output_gradient)).t(), as_matrix(wide(input)))
      .to(input.scalar_type());
}

at::Tensor linear_bias_gradient(const at::Tensor& output_gradient) {
  return as_matrix(output_gradient).sum(0);
}

}  // namespace megalith::ops

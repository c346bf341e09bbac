#include "megalith/ops/elementwise.hpp"

#include <ATen/ATen.h>

namespace megalith::ops {

at::Tensor layer_norm(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                      double epsilon) {
  return at::layer_norm(input, {input.size(-1)}, weight, bias, epsilon);
}

at::Tensor rms_norm(const at::Tensor& input, const at::Tensor& weight, double epsilon) {
  return at::rms_norm(input, {input.size(-1)}, weight, epsilon);
}

at::Tensor gelu(const at::Tensor& input, bool tanh_form) {
  return at::gelu(input, tanh_form ? "tanh" : "none");
}

at::Tensor swiglu(const at::Tensor& input) {
  const auto halves = input.chunk(2, -1);
  return at::silu(halves[0]) * halves[1];
}

at::Tensor squared_relu(const at::Tensor& input) { return at::relu(input).square(); }

at::Tensor dropout(const at::Tensor& input, double probability, at::Generator generator) {
  const double keep = 1.0 - probability;
  at::Tensor mask =
      at::empty(input.sizes(), input.options()).bernoulli_(keep, std::move(generator));
  return input * mask.div_(keep);
}

at::Tensor rotary_angles(const at::Tensor& position_ids, int64_t rotary_size, double base) {
  const auto options = position_ids.options().dtype(at::kDouble);
  const at::Tensor exponents = at::arange(0, rotary_size, 2, options) / double(rotary_size);
  // The frequencies are rounded to fp32 first, as published models were trained.
  const at::Tensor frequencies = at::pow(base, exponents).reciprocal().to(at::kFloat);
  const at::Tensor positions = position_ids.t().to(at::kFloat);  // [S, B]
  return (positions.unsqueeze(-1) * frequencies).unsqueeze(2);   // [S, B, 1, D/2]
}

at::Tensor apply_rotary(const at::Tensor& x, const at::Tensor& angles) {
  const int64_t half = angles.size(-1);
  const auto cosine = angles.cos().to(x.scalar_type());
  const auto sine = angles.sin().to(x.scalar_type());
  const at::Tensor first = x.narrow(-1, 0, half);
  const at::Tensor second = x.narrow(-1, half, half);
  std::vector<at::Tensor> parts{first * cosine - second * sine, second * cosine + first * sine};
  if (x.size(-1) > 2 * half) parts.push_back(x.narrow(-1, 2 * half, x.size(-1) - 2 * half));
  return at::cat(parts, -1);
}

}  // namespace megalith::ops

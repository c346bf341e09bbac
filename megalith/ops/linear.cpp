#include "megalith/ops/linear.hpp"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>

namespace megalith::ops {
namespace {

/// A temporary of this size stays in the cache between the product and the sum.
constexpr int64_t kCachedElements = 2 << 20;

at::Tensor as_matrix(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}); }

/// CPUs multiply fp16 element by element, a hundred times slower than fp32; the products are taken
/// in fp32 there and rounded to fp16, which is what a GPU's fp32 accumulation does.
bool widens(const at::Tensor& x) { return x.scalar_type() == at::kHalf && x.device().is_cpu(); }
at::Tensor wide(const at::Tensor& x) { return x.defined() && widens(x) ? x.to(at::kFloat) : x; }

using OnednnLinear = at::Tensor(const at::Tensor&, const at::Tensor&,
                                const std::optional<at::Tensor>&, std::string_view,
                                c10::List<std::optional<at::Scalar>>,
                                std::optional<std::string_view>);

/// LibTorch's own entry to oneDNN's product, which it keeps for compiled graphs.
const c10::TypedOperatorHandle<OnednnLinear>& onednn_linear() {
  static const auto handle = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
                                 .typed<OnednnLinear>();
  return handle;
}

/// input [N, I] times weight [O, I] transposed, plus bias -> [N, O]; views may be transposed.
at::Tensor product(const at::Tensor& input, const at::Tensor& weight,
                   const std::optional<at::Tensor>& bias) {
  const bool to_onednn = input.device().is_cpu() && input.scalar_type() == at::kFloat &&
                         at::hasMKLDNN() && input.numel() > 0 && weight.numel() > 0;
  if (!to_onednn) return at::linear(input, weight, bias);
  return onednn_linear().call(input, weight, bias, "none", c10::List<std::optional<at::Scalar>>(),
                              std::nullopt);
}

}  // namespace

at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
  const auto row = bias.defined() ? std::make_optional(wide(bias)) : std::nullopt;
  auto shape = input.sizes().vec();
  shape.back() = weight.size(0);
  return product(as_matrix(wide(input)), wide(weight), row).view(shape).to(input.scalar_type());
}

at::Tensor linear_input_gradient(const at::Tensor& output_gradient, const at::Tensor& weight) {
  auto shape = output_gradient.sizes().vec();
  shape.back() = weight.size(1);
  return product(as_matrix(wide(output_gradient)), wide(weight).t(), std::nullopt)
      .view(shape)
      .to(weight.scalar_type());
}

at::Tensor linear_weight_gradient(const at::Tensor& output_gradient, const at::Tensor& input) {
  return product(as_matrix(wide(output_gradient)).t(), as_matrix(wide(input)).t(), std::nullopt)
      .to(input.scalar_type());
}

void add_linear_weight_gradient(at::Tensor& gradient, const at::Tensor& output_gradient,
                                const at::Tensor& input) {
  const at::Tensor outputs = as_matrix(output_gradient), inputs = as_matrix(input);
  if (!gradient.device().is_cpu()) {
    gradient.add_(linear_weight_gradient(outputs, inputs));
    return;
  }
  // In slices of rows, so that the vocabulary's 50,000 rows need no second copy of the weight.
  const int64_t rows = std::max<int64_t>(64, kCachedElements / inputs.size(1));
  for (int64_t first = 0; first < outputs.size(1); first += rows) {
    const int64_t count = std::min(rows, outputs.size(1) - first);
    gradient.narrow(0, first, count)
        .add_(linear_weight_gradient(outputs.narrow(1, first, count), inputs));
  }
}

at::Tensor linear_bias_gradient(const at::Tensor& output_gradient) {
  return as_matrix(output_gradient).sum(0);
}

}  // namespace megalith::ops

#include "megalith/layers/parallel_linear.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "megalith/ops/linear.hpp"
#include "megalith/parallel/collectives.hpp"

namespace megalith {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/// Keeps the group alive between forward and backward.
struct GroupHolder : torch::CustomClassHolder {
  explicit GroupHolder(Group g) : group(std::move(g)) {}
  Group group;
};

/// Adds to the gradient that `weight` holds, or returns what autograd is to add.
at::Tensor add_weight_gradient(const at::Tensor& weight, const at::Tensor& output_gradient,
                               const at::Tensor& input) {
  at::Tensor gradient = main_gradient(weight);
  if (!gradient.defined()) return ops::linear_weight_gradient(output_gradient, input);
  ops::add_linear_weight_gradient(gradient, output_gradient, input);
  return {};
}

struct ColumnParallel : Function<ColumnParallel> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            const Group& tensor) {
    context->save_for_backward({input, weight});
    context->saved_data["has_bias"] = bias.has_value();
    context->saved_data["group"] =
        c10::IValue::make_capsule(c10::make_intrusive<GroupHolder>(tensor));
    return ops::linear(input, weight, bias.value_or(at::Tensor()));
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto capsule = context->saved_data["group"].toCapsule();
    const at::Tensor output_gradient = gradients[0].contiguous();
    at::Tensor input_gradient, weight_gradient, bias_gradient;
    PendingCollective sum;
    if (context->needs_input_grad(0)) {
      input_gradient = ops::linear_input_gradient(output_gradient, saved[1]);
      sum = all_reduce_async(input_gradient, static_cast<GroupHolder&>(*capsule).group);
    }
    if (context->needs_input_grad(1)) {
      weight_gradient = add_weight_gradient(saved[1], output_gradient, saved[0]);
      if (context->saved_data["has_bias"].toBool()) {
        bias_gradient = ops::linear_bias_gradient(output_gradient);
      }
    }
    sum.wait();
    return {input_gradient, weight_gradient, bias_gradient, {}};
  }
};

struct RowParallel : Function<RowParallel> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            const Group& tensor) {
    context->save_for_backward({input, weight});
    context->saved_data["has_bias"] = bias.has_value();
    if (tensor.size() == 1) return ops::linear(input, weight, bias.value_or(at::Tensor()));
    at::Tensor output = ops::linear(input, weight, {});
    all_reduce(output, tensor);
    return bias ? output.add_(*bias) : output;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor output_gradient = gradients[0].contiguous();
    at::Tensor input_gradient, weight_gradient, bias_gradient;
    if (context->needs_input_grad(0)) {
      input_gradient = ops::linear_input_gradient(output_gradient, saved[1]);
    }
    if (context->needs_input_grad(1)) {
      weight_gradient = add_weight_gradient(saved[1], output_gradient, saved[0]);
      if (context->saved_data["has_bias"].toBool()) {
        bias_gradient = ops::linear_bias_gradient(output_gradient);
      }
    }
    return {input_gradient, weight_gradient, bias_gradient, {}};
  }
};

/// Autograd takes a missing tensor as an empty optional only.
std::optional<at::Tensor> if_defined(const at::Tensor& tensor) {
  return tensor.defined() ? std::make_optional(tensor) : std::nullopt;
}

}  // namespace

at::Tensor column_parallel_linear(const at::Tensor& input, const at::Tensor& weight,
                                  const at::Tensor& bias, const Group& tensor) {
  return ColumnParallel::apply(input, weight, if_defined(bias), tensor);
}

at::Tensor row_parallel_linear(const at::Tensor& input, const at::Tensor& weight,
                               const at::Tensor& bias, const Group& tensor) {
  return RowParallel::apply(input, weight, if_defined(bias), tensor);
}

at::Tensor replicated_linear(const at::Tensor& input, const at::Tensor& weight,
                             const at::Tensor& bias) {
  const Group alone{.name = "none", .ranks = {0}, .communicator = nullptr, .traffic = nullptr};
  return column_parallel_linear(input, weight, bias, alone);
}

ReplicatedLinear::ReplicatedLinear(const ParameterBuilder& parameters, const std::string& name,
                                   int64_t input_size, int64_t output_size, Init init)
    : weight_(parameters.replicated(name + ".weight", {output_size, input_size}, init, true)),
      bias_(parameters.replicated(name + ".bias", {output_size}, Init::zeros(), false)) {}

ColumnParallelLinear::ColumnParallelLinear(const ParameterBuilder& parameters,
                                           const std::string& name, int64_t input_size,
                                           const std::vector<ParameterBuilder::Part>& parts,
                                           bool bias, Init init, const Group& tensor)
    : tensor_(tensor) {
  const auto suffixed = [&](const char* suffix) {
    auto named = parts;
    for (auto& part : named) part.name += suffix;
    return named;
  };
  weight_ = parameters.fused(name + ".weight", suffixed(".weight"), input_size, init, true);
  if (bias) bias_ = parameters.fused(name + ".bias", suffixed(".bias"), -1, Init::zeros(), false);
}

RowParallelLinear::RowParallelLinear(const ParameterBuilder& parameters, const std::string& name,
                                     int64_t input_size, int64_t output_size, bool bias, Init init,
                                     const Group& tensor)
    : tensor_(tensor),
      weight_(parameters.split(name + ".weight", {output_size, input_size}, 1, init, true)) {
  if (bias) bias_ = parameters.replicated(name + ".bias", {output_size}, Init::zeros(), false);
}

}  // namespace megalith

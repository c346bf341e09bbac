#include "megalith/layers/recompute.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace megalith {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct FunctionHolder : torch::CustomClassHolder {
  explicit FunctionHolder(TensorFunction f) : function(std::move(f)) {}
  TensorFunction function;
};

struct Recompute : torch::autograd::Function<Recompute> {
  static at::Tensor forward(AutogradContext* context, const TensorFunction& function,
                            at::TensorList inputs) {
    context->saved_data["function"] =
        c10::IValue::make_capsule(c10::make_intrusive<FunctionHolder>(function));
    context->save_for_backward(inputs.vec());
    return function(inputs.vec());  // custom functions run without recording
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto capsule = context->saved_data["function"].toCapsule();
    std::vector<at::Tensor> inputs;
    for (const auto& saved : context->get_saved_variables()) {
      inputs.push_back(saved.detach().set_requires_grad(saved.requires_grad()));
    }
    {
      const at::AutoGradMode record(true);
      const at::Tensor output = static_cast<FunctionHolder&>(*capsule).function(inputs);
      torch::autograd::backward({output}, {gradients[0]});
    }
    variable_list result{at::Tensor()};  // for `function`
    for (const auto& input : inputs) result.push_back(input.grad());
    return result;
  }
};

}  // namespace

at::Tensor recompute(const TensorFunction& function, const std::vector<at::Tensor>& inputs) {
  return Recompute::apply(function, at::TensorList(inputs));
}

}  // namespace megalith

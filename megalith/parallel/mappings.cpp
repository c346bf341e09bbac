#include "megalith/parallel/mappings.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

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

struct CopyToTensorRegion : Function<CopyToTensorRegion> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input,
                            const Group& tensor) {
    context->saved_data["group"] =
        c10::IValue::make_capsule(c10::make_intrusive<GroupHolder>(tensor));
    return input.view_as(input);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto capsule = context->saved_data["group"].toCapsule();
    at::Tensor gradient = gradients[0].clone(at::MemoryFormat::Contiguous);
    all_reduce(gradient, static_cast<GroupHolder&>(*capsule).group);
    return {gradient, {}};
  }
};

struct ReduceFromTensorRegion : Function<ReduceFromTensorRegion> {
  static at::Tensor forward(AutogradContext*, const at::Tensor& input, const Group& tensor) {
    at::Tensor output = input.clone(at::MemoryFormat::Contiguous);
    all_reduce(output, tensor);
    return output;
  }
  static variable_list backward(AutogradContext*, const variable_list& gradients) {
    return {gradients[0], {}};
  }
};

}  // namespace

at::Tensor copy_to_tensor_region(const at::Tensor& input, const Group& tensor) {
  return CopyToTensorRegion::apply(input, tensor);
}

at::Tensor reduce_from_tensor_region(const at::Tensor& input, const Group& tensor) {
  return ReduceFromTensorRegion::apply(input, tensor);
}

}  // namespace megalith

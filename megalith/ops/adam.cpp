#include "megalith/ops/adam.hpp"

#include <ATen/ATen.h>

namespace megalith::ops {

void adam_update(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& moment1,
                 at::Tensor& moment2, const AdamStep& step) {
  // The fused kernel makes one pass and divides by its fp32 gradient scale on the way; in double,
  // where that would lose digits, the gradient is scaled beforehand.
  const auto scalar = at::TensorOptions(at::kFloat).device(parameter.device());
  std::optional<at::Tensor> divisor;
  at::Tensor scaled = gradient;
  if (step.gradient_scale != 1.0) {
    if (parameter.scalar_type() == at::kFloat) {
      divisor = at::full({}, 1.0 / step.gradient_scale, scalar);
    } else {
      scaled = gradient * step.gradient_scale;
    }
  }
  const std::vector<at::Tensor> parameters{parameter.detach()}, gradients{scaled}, firsts{moment1},
      seconds{moment2}, counts{at::full({}, static_cast<double>(step.step), scalar)};
  at::_fused_adamw_(parameters, gradients, firsts, seconds, {}, counts, step.learning_rate,
                    step.beta1, step.beta2, step.weight_decay, step.epsilon, /*amsgrad=*/false,
                    /*maximize=*/false, divisor);
}

void sgd_update(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& momentum,
                const SgdStep& step) {
  const at::Tensor total = (gradient * step.gradient_scale).add_(parameter, step.weight_decay);
  if (step.first) {
    momentum.copy_(total);
  } else {
    momentum.mul_(step.momentum).add_(total);
  }
  parameter.sub_(momentum, step.learning_rate);
}

}  // namespace megalith::ops

#include "megalith/ops/adam.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "megalith/ops/simd.hpp"

namespace megalith::ops {

namespace {

constexpr int64_t kElementsPerThread = 1 << 14;

/// The constants of one update, in the precision of the loop.
struct AdamFactors {
  float gradient_scale, decay, one_minus_beta1, beta2, one_minus_beta2, step_size, root_correction,
      epsilon;

  explicit AdamFactors(const AdamStep& step)
      : gradient_scale(static_cast<float>(step.gradient_scale)),
        decay(static_cast<float>(1 - step.learning_rate * step.weight_decay)),
        one_minus_beta1(static_cast<float>(1 - step.beta1)),
        beta2(static_cast<float>(step.beta2)),
        one_minus_beta2(static_cast<float>(1 - step.beta2)) {
    const auto count = static_cast<double>(step.step);
    step_size = static_cast<float>(step.learning_rate / (1 - std::pow(step.beta1, count)));
    root_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(step.beta2, count)));
    epsilon = static_cast<float>(step.epsilon);
  }
};

/// One pass; `rounded` receives the parameter in bf16 when it is not null.
MEGALITH_SIMD void adam_loop(float* __restrict p, const float* __restrict g, float* __restrict m,
                             float* __restrict v, at::BFloat16* __restrict rounded, int64_t n,
                             const AdamFactors& f) {
  const auto update = [&](int64_t i) __attribute__((always_inline)) {
    const float slope = g[i] * f.gradient_scale;
    m[i] += (slope - m[i]) * f.one_minus_beta1;
    v[i] = v[i] * f.beta2 + slope * slope * f.one_minus_beta2;
    const float root = std::sqrt(v[i]) * f.root_correction + f.epsilon;
    return p[i] * f.decay - f.step_size * m[i] / root;
  };
  if (rounded == nullptr) {
    for (int64_t i = 0; i < n; ++i) p[i] = update(i);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const float value = update(i);
    p[i] = value;
    store(rounded + i, value);
  }
}

bool has_loop(const at::Tensor& parameter, const at::Tensor& gradient) {
  return parameter.device().is_cpu() && parameter.scalar_type() == at::kFloat &&
         parameter.is_contiguous() && gradient.is_contiguous();
}

}  // namespace

void adam_update(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& moment1,
                 at::Tensor& moment2, at::Tensor& rounded, const AdamStep& step) {
  const bool rounds = rounded.defined();
  if (has_loop(parameter, gradient) &&
      (!rounds || (rounded.scalar_type() == at::kBFloat16 && rounded.is_contiguous()))) {
    float *const p = parameter.mutable_data_ptr<float>(),
                 *const m = moment1.mutable_data_ptr<float>(),
                 *const v = moment2.mutable_data_ptr<float>();
    const float* const g = gradient.const_data_ptr<float>();
    at::BFloat16* const r = rounds ? rounded.mutable_data_ptr<at::BFloat16>() : nullptr;
    const AdamFactors factors(step);
    at::parallel_for(0, parameter.numel(), kElementsPerThread, [&](int64_t first, int64_t last) {
      adam_loop(p + first, g + first, m + first, v + first, r ? r + first : nullptr, last - first,
                factors);
    });
    return;
  }
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
  if (rounds) rounded.copy_(parameter);
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

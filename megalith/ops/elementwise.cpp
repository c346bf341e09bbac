#include "megalith/ops/elementwise.hpp"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "megalith/ops/dropout_mask.hpp"

namespace megalith::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/// out = x * mask, plus `residual` when it is not null.
template <class T>
MEGALITH_INLINE void mask_loop(const T* x, const T* residual, T* out, int64_t size,
                               int64_t first_block, int64_t last_block, const DropoutMask& mask) {
  float factors[kMaskBlock];
  for (int64_t block = first_block; block < last_block; ++block) {
    mask_factors(mask, static_cast<uint64_t>(block), factors);
    const int64_t start = block * kMaskBlock;
    const int64_t count = size - start < kMaskBlock ? size - start : kMaskBlock;
    const T* const from = x + start;
    T* const to = out + start;
    if (residual == nullptr) {
      for (int64_t i = 0; i < count; ++i) store(to + i, load(from + i) * factors[i]);
    } else {
      for (int64_t i = 0; i < count; ++i) {
        store(to + i, load(residual + start + i) + load(from + i) * factors[i]);
      }
    }
  }
}
MEGALITH_SIMD void apply_mask(const float* x, const float* residual, float* out, int64_t size,
                              int64_t first_block, int64_t last_block, const DropoutMask& mask) {
  mask_loop(x, residual, out, size, first_block, last_block, mask);
}
MEGALITH_SIMD void apply_mask(const at::BFloat16* x, const at::BFloat16* residual,
                              at::BFloat16* out, int64_t size, int64_t first_block,
                              int64_t last_block, const DropoutMask& mask) {
  mask_loop(x, residual, out, size, first_block, last_block, mask);
}

template <class T>
at::Tensor masked_as(const at::Tensor& input, const at::Tensor& residual, const DropoutMask& mask) {
  const at::Tensor x = input.contiguous(), out = at::empty_like(x);
  const at::Tensor base = residual.defined() ? residual.contiguous() : residual;
  const T* const from = x.const_data_ptr<T>();
  const T* const below = base.defined() ? base.const_data_ptr<T>() : nullptr;
  T* const to = out.mutable_data_ptr<T>();
  const int64_t size = x.numel(), blocks = (size + kMaskBlock - 1) / kMaskBlock;
  at::parallel_for(0, blocks, 64, [&](int64_t first, int64_t last) {
    apply_mask(from, below, to, size, first, last, mask);
  });
  return out;
}

at::Tensor masked(const at::Tensor& input, const at::Tensor& residual, const DropoutMask& mask) {
  return input.scalar_type() == at::kFloat ? masked_as<float>(input, residual, mask)
                                           : masked_as<at::BFloat16>(input, residual, mask);
}

bool has_mask_loop(const at::Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

/// input * mask (+ residual).
struct MaskedDropout : Function<MaskedDropout> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input,
                            const std::optional<at::Tensor>& residual, double probability,
                            int64_t key) {
    context->saved_data["probability"] = probability;
    context->saved_data["key"] = key;
    context->saved_data["has_residual"] = residual.has_value();
    return masked(input, residual.value_or(at::Tensor()),
                  DropoutMask::of(probability, static_cast<uint64_t>(key)));
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto key = static_cast<uint64_t>(context->saved_data["key"].toInt());
    const auto mask = DropoutMask::of(context->saved_data["probability"].toDouble(), key);
    const bool has_residual = context->saved_data["has_residual"].toBool();
    return {masked(gradients[0], {}, mask), has_residual ? gradients[0] : at::Tensor(),
            at::Tensor(), at::Tensor()};
  }
};

}  // namespace

uint64_t draw_key(const at::Generator& generator) {
  auto* const engine = at::check_generator<at::CPUGeneratorImpl>(generator);
  const std::lock_guard lock(engine->mutex_);
  return engine->random64();
}

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
  if (has_mask_loop(input)) {
    return MaskedDropout::apply(input, std::nullopt, probability,
                                static_cast<int64_t>(draw_key(generator)));
  }
  const double keep = 1.0 - probability;
  at::Tensor mask =
      at::empty(input.sizes(), input.options()).bernoulli_(keep, std::move(generator));
  return input * mask.div_(keep);
}

at::Tensor add_dropped(const at::Tensor& residual, const at::Tensor& input, double probability,
                       at::Generator generator) {
  if (!has_mask_loop(input) || input.sizes() != residual.sizes()) {
    return residual + dropout(input, probability, std::move(generator));
  }
  return MaskedDropout::apply(input, residual, probability,
                              static_cast<int64_t>(draw_key(generator)));
}

at::Tensor rotary_angles(const at::Tensor& position_ids, const std::vector<double>& frequencies) {
  // The frequencies are rounded to fp32 first, as published models were trained.
  const at::Tensor rounded =
      at::tensor(frequencies, at::TensorOptions(at::kFloat)).to(position_ids.device());
  const at::Tensor positions = position_ids.t().to(at::kFloat);  // [S, B]
  return (positions.unsqueeze(-1) * rounded).unsqueeze(2);       // [S, B, 1, R/2]
}

at::Tensor apply_rotary(const at::Tensor& x, const at::Tensor& angles, double scale) {
  const int64_t half = angles.size(-1);
  at::Tensor cosine = angles.cos(), sine = angles.sin();
  if (scale != 1.0) {
    cosine = cosine * scale;
    sine = sine * scale;
  }
  cosine = cosine.to(x.scalar_type());
  sine = sine.to(x.scalar_type());
  const at::Tensor first = x.narrow(-1, 0, half);
  const at::Tensor second = x.narrow(-1, half, half);
  std::vector<at::Tensor> parts{first * cosine - second * sine, second * cosine + first * sine};
  if (x.size(-1) > 2 * half) parts.push_back(x.narrow(-1, 2 * half, x.size(-1) - 2 * half));
  return at::cat(parts, -1);
}

}  // namespace megalith::ops

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

template <class T>
MEGALITH_INLINE void mask_loop(const T* x, T* out, int64_t size, int64_t first_block,
                               int64_t last_block, const DropoutMask& mask) {
  float factors[kMaskBlock];
  for (int64_t block = first_block; block < last_block; ++block) {
    mask_factors(mask, static_cast<uint64_t>(block), factors);
    const int64_t start = block * kMaskBlock;
    if (start + kMaskBlock <= size) {
      for (int64_t i = 0; i < kMaskBlock; ++i) {
        store(out + start + i, load(x + start + i) * factors[i]);
      }
    } else {
      for (int64_t i = start; i < size; ++i) store(out + i, load(x + i) * factors[i - start]);
    }
  }
}
MEGALITH_SIMD void apply_mask(const float* x, float* out, int64_t size, int64_t first_block,
                              int64_t last_block, const DropoutMask& mask) {
  mask_loop(x, out, size, first_block, last_block, mask);
}
MEGALITH_SIMD void apply_mask(const at::BFloat16* x, at::BFloat16* out, int64_t size,
                              int64_t first_block, int64_t last_block, const DropoutMask& mask) {
  mask_loop(x, out, size, first_block, last_block, mask);
}

template <class T>
at::Tensor masked_as(const at::Tensor& input, const DropoutMask& mask) {
  const at::Tensor x = input.contiguous(), out = at::empty_like(x);
  const T* const from = x.const_data_ptr<T>();
  T* const to = out.mutable_data_ptr<T>();
  const int64_t size = x.numel(), blocks = (size + kMaskBlock - 1) / kMaskBlock;
  at::parallel_for(0, blocks, 64, [&](int64_t first, int64_t last) {
    apply_mask(from, to, size, first, last, mask);
  });
  return out;
}

at::Tensor masked(const at::Tensor& input, const DropoutMask& mask) {
  return input.scalar_type() == at::kFloat ? masked_as<float>(input, mask)
                                           : masked_as<at::BFloat16>(input, mask);
}

struct MaskedDropout : Function<MaskedDropout> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, double probability,
                            int64_t key) {
    context->saved_data["probability"] = probability;
    context->saved_data["key"] = key;
    return masked(input, DropoutMask::of(probability, static_cast<uint64_t>(key)));
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto key = static_cast<uint64_t>(context->saved_data["key"].toInt());
    const auto mask = DropoutMask::of(context->saved_data["probability"].toDouble(), key);
    return {masked(gradients[0], mask), at::Tensor(), at::Tensor()};
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
  const auto type = input.scalar_type();
  if (input.device().is_cpu() && (type == at::kFloat || type == at::kBFloat16)) {
    return MaskedDropout::apply(input, probability, static_cast<int64_t>(draw_key(generator)));
  }
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

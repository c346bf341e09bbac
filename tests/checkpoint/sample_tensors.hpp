// The tensors of a small make-believe run: every kind of shard, several types, arbitrary bits.
//
// The bits of a global tensor depend on its name alone, so that a slice loaded under any layout has
// an expected value that no saving or loading took part in.
#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <string>
#include <vector>

#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/checkpoint/safetensors.hpp"
#include "megalith/core/digest.hpp"
#include "megalith/parallel/parameter.hpp"

namespace megalith::testing {

/// Random bits: NaNs with payloads, infinities, denormals and all.
inline at::Tensor named_bits(const std::string& name, const std::vector<int64_t>& shape,
                             at::ScalarType dtype, int64_t seed = 0) {
  const auto key = std::stoull(md5_hex(name + std::to_string(seed)).substr(0, 12), nullptr, 16);
  auto generator = at::make_generator<at::CPUGeneratorImpl>(key);
  std::vector<int64_t> byte_shape = shape;
  const auto width = static_cast<int64_t>(c10::elementSize(dtype));
  byte_shape.push_back(width);
  return at::randint(0, 256, byte_shape, generator, at::TensorOptions(at::kByte))
      .view(dtype)
      .squeeze(-1);
}

inline constexpr double kUntouched = 77.0;

/// The tensors one rank holds; with `fill` their boxes hold named_bits, everything else (padding
/// rows, and all without `fill`) kUntouched.
inline std::vector<CheckpointTensor> sample_tensors(const ProcessGroups& groups, bool fill,
                                                    int64_t seed = 0) {
  ParameterList list;
  const ParameterBuilder build(list, at::kFloat, at::kCPU, 1, groups.tensor().rank,
                               groups.tensor().size());
  build.vocabulary("embedding.weight", 10, 16, 3, Init::zeros());
  build.replicated("norm.weight", {6}, Init::zeros(), false);
  build.fused(
      "attention.qkv.weight",
      {{"attention.query.weight", 8}, {"attention.key.weight", 4}, {"attention.value.weight", 4}},
      6, Init::zeros(), true);
  build.fused("attention.qkv.bias",
              {{"attention.query.bias", 8}, {"attention.key.bias", 4}, {"attention.value.bias", 4}},
              -1, Init::zeros(), false);
  build.split("fc1.weight", {16, 6}, 0, Init::zeros(), true);
  build.split("fc2.weight", {6, 16}, 1, Init::zeros(), true);
  std::vector<CheckpointTensor> tensors;
  const auto add = [&](const std::string& prefix, at::ScalarType dtype) {
    for (const auto& parameter : list) {
      at::Tensor local = at::full(parameter.value.sizes(), kUntouched, dtype);
      for (const auto& box : parameter.shard.boxes) {
        if (!fill) break;
        at::Tensor whole = named_bits(prefix + box.name, box.global_shape, dtype, seed);
        for (size_t dim = 0; dim < box.offset.size(); ++dim) {
          whole = whole.narrow(static_cast<int64_t>(dim), box.offset[dim], box.length[dim]);
        }
        as_bits(box_view(local, box)).copy_(as_bits(whole));
      }
      tensors.push_back({prefix, local, parameter.shard});
    }
  };
  add("", at::kBFloat16);
  add("optimizer.exp_avg.", at::kFloat);
  add("optimizer.exp_avg_sq.", at::kDouble);
  return tensors;
}

}  // namespace megalith::testing

// Scaled dot-product attention over heads that are already split.
//
// Without dropout and mask blocked_attention.hpp on CPUs, else LibTorch's fused kernel; with
// dropout a plain form, because no fused form takes a generator. All keep softmax statistics in
// fp32. The mask and the cache are the caller's business.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <optional>

namespace megalith::ops {

struct AttentionOptions {
  bool causal = true;                 // query i sees keys 0..i (needs as many keys as queries)
  std::optional<at::Tensor> visible;  // bool, broadcast to [B, A, S, Sk]: true where seen
  double dropout = 0.0;               // on the probabilities
  std::optional<at::Generator> generator = {};  // required when dropout > 0
};

/// queries [S, B, A, D], keys and values [Sk, B, Akv, D] with A a multiple of Akv -> [S, B, A, D].
at::Tensor attention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                     const AttentionOptions& options);

}  // namespace megalith::ops

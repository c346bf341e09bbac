// Scaled dot-product attention over heads that are already split.
//
// On CPUs blocked_attention.hpp, unless there is a mask over pairs of positions; else LibTorch's
// fused kernel, and with dropout a plain form, because no fused form takes a generator. All keep
// softmax statistics in fp32. The masks and the cache are the caller's business; every query must
// see a key.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <optional>

namespace megalith::ops {

struct AttentionOptions {
  bool causal = true;                 // query i sees keys 0..i (needs as many keys as queries)
  std::optional<at::Tensor> visible;  // bool, broadcast to [B, A, S, Sk]: true where seen
  at::Tensor key_mask = {};  // bool [B, Sk] or undefined: false hides a key from all queries
  double dropout = 0.0;      // on the probabilities
  std::optional<at::Generator> generator = {};  // required when dropout > 0
};

/// queries [S, B, A, D], keys and values [Sk, B, Akv, D] with A a multiple of Akv -> [S, B, A, D].
at::Tensor attention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                     const AttentionOptions& options);

}  // namespace megalith::ops

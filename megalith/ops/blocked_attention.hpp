// Causal or full attention on CPUs in blocks of 64 queries by 64 keys, forward and backward.
//
// The fused operator of LibTorch reaches a tenth of a CPU's peak; here every product is one of
// oneDNN's small ones, scores never leave the cache, and keys after a block's last query are
// skipped (Dao et al., FlashAttention, 2022). Works in fp32, also for bf16 tensors. No dropout, no
// mask: attention.hpp chooses.
#pragma once

#include <ATen/core/Tensor.h>

namespace megalith::ops {

/// Whether this machine and these tensors can take blocked_attention().
bool takes_blocks(const at::Tensor& queries, const at::Tensor& keys, bool causal);

/// queries [S, B, A, D], keys and values [Sk, B, Akv, D] -> [S, B, A, D]; any strides with a
/// contiguous last dim. `causal` needs S == Sk. Differentiable. The same bits for any number of
/// threads.
at::Tensor blocked_attention(const at::Tensor& queries, const at::Tensor& keys,
                             const at::Tensor& values, bool causal);

}  // namespace megalith::ops

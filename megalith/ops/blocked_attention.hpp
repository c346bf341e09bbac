// Causal or full attention on CPUs in blocks of 64 queries by 64 keys, forward and backward.
//
// The fused operator of LibTorch reaches a tenth of a CPU's peak; here every product is one of
// oneDNN's small ones, scores never leave the cache, and keys after a block's last query are
// skipped (Dao et al., FlashAttention, 2022). Works in fp32, also for bf16 tensors. Dropout on the
// probabilities is a function of a key, so backward needs no mask either. attention.hpp chooses.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace megalith::ops {

/// Whether this machine and these tensors can take blocked_attention().
bool takes_blocks(const at::Tensor& queries, const at::Tensor& keys, bool causal);

/// queries [S, B, A, D], keys and values [Sk, B, Akv, D] -> [S, B, A, D]; any strides with a
/// contiguous last dim. `causal` needs S == Sk. With `dropout` > 0, the probability of query i of
/// head a of sequence b for key j is element j of row (b * A + a) * S + i of the mask of `key`,
/// rows of Sk rounded up to 64. Differentiable. The same bits for any number of threads.
at::Tensor blocked_attention(const at::Tensor& queries, const at::Tensor& keys,
                             const at::Tensor& values, bool causal, double dropout = 0,
                             uint64_t key = 0);

}  // namespace megalith::ops

// Causal or full attention on CPUs in blocks of 64 queries by 64 keys, forward and backward.
//
// The fused operator of LibTorch reaches a tenth of a CPU's peak; here every product is one of
// oneDNN's small ones, scores never leave the cache, and keys after a block's last query are
// skipped (Dao et al., FlashAttention, 2022), as is the padding at a sequence's end. Works in fp32,
// also for bf16 tensors. Dropout on the probabilities is a function of a key, so backward needs no
// mask of it. attention.hpp chooses.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace megalith::ops {

/// Whether this machine and these tensors can take blocked_attention().
bool takes_blocks(const at::Tensor& queries, const at::Tensor& keys, bool causal);

struct BlockedOptions {
  bool causal = true;        // needs as many keys as queries
  at::Tensor key_mask = {};  // bool [B, Sk] or undefined: false hides a key from all queries; not
                             // with `causal`
  double dropout = 0;        // on the probabilities
  uint64_t dropout_key = 0;
};

/// queries [S, B, A, D], keys and values [Sk, B, Akv, D] -> [S, B, A, D]; any strides with a
/// contiguous last dim. With dropout, the probability of query i of head a of sequence b for key j
/// is element j of row (b * A + a) * S + i of the mask of `dropout_key`, rows of Sk rounded up to
/// 64. Hidden keys get no gradient, and what lies there changes nothing. Differentiable. The same
/// bits for any number of threads.
at::Tensor blocked_attention(const at::Tensor& queries, const at::Tensor& keys,
                             const at::Tensor& values, const BlockedOptions& options);

}  // namespace megalith::ops

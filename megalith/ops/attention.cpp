#include "megalith/ops/attention.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "megalith/ops/blocked_attention.hpp"
#include "megalith/ops/elementwise.hpp"

namespace megalith::ops {
namespace {

/// [S, B, A, D] -> [B, A, S, D]
at::Tensor heads_first(const at::Tensor& x) { return x.permute({1, 2, 0, 3}); }

/// Repeats each key/value head for its group of query heads.
at::Tensor repeat_heads(const at::Tensor& x, int64_t heads) {
  if (x.size(1) == heads) return x;
  const int64_t group = heads / x.size(1);
  return x.unsqueeze(2)
      .expand({x.size(0), x.size(1), group, x.size(2), x.size(3)})
      .reshape({x.size(0), heads, x.size(2), x.size(3)});
}

/// The mask of keys as a part of the mask of pairs.
AttentionOptions with_one_mask(AttentionOptions options) {
  if (!options.key_mask.defined()) return options;
  const at::Tensor keys = options.key_mask.unsqueeze(1).unsqueeze(1);  // [B, 1, 1, Sk]
  options.visible = options.visible ? options.visible->logical_and(keys) : keys;
  return options;
}

const at::Generator& generator_of(const AttentionOptions& options) {
  TORCH_CHECK(options.generator.has_value(), "attention dropout needs a generator");
  return *options.generator;
}

at::Tensor plain_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttentionOptions& options) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(-1)));
  at::Tensor scores = at::matmul(q * scale, k.transpose(-1, -2));  // [B, A, S, Sk]
  const double hidden = -std::numeric_limits<double>::infinity();
  if (options.causal) {
    const auto future = at::ones({q.size(2), k.size(2)}, q.options().dtype(at::kBool)).triu(1);
    scores = scores.masked_fill(future, hidden);
  }
  if (options.visible) scores = scores.masked_fill(options.visible->logical_not(), hidden);
  const auto exact = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor probabilities = at::softmax(scores, -1, exact).to(q.scalar_type());
  if (options.dropout > 0) {
    probabilities = dropout(probabilities, options.dropout, generator_of(options));
  }
  return at::matmul(probabilities, v);
}

}  // namespace

at::Tensor attention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                     const AttentionOptions& given) {
  const bool masks_pairs = given.visible || (given.causal && given.key_mask.defined());
  if (!masks_pairs && takes_blocks(queries, keys, given.causal)) {
    const uint64_t key = given.dropout > 0 ? draw_key(generator_of(given)) : 0;
    return blocked_attention(queries, keys, values,
                             {given.causal, given.key_mask, given.dropout, key});
  }
  const AttentionOptions options = with_one_mask(given);
  const at::Tensor q = heads_first(queries);
  const at::Tensor k = repeat_heads(heads_first(keys), q.size(1));
  const at::Tensor v = repeat_heads(heads_first(values), q.size(1));
  at::Tensor out;
  if (options.dropout > 0) {
    out = plain_attention(q, k, v, options);
  } else if (options.visible) {
    at::Tensor visible = *options.visible;
    if (options.causal) {
      visible = visible.logical_and(
          at::ones({q.size(2), k.size(2)}, q.options().dtype(at::kBool)).tril());
    }
    out = at::scaled_dot_product_attention(q, k, v, visible);
  } else {
    out = at::scaled_dot_product_attention(q, k, v, std::nullopt, 0.0, options.causal);
  }
  return out.permute({2, 0, 1, 3});  // [B, A, S, D] -> [S, B, A, D]
}

}  // namespace megalith::ops

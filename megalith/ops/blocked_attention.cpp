#include "megalith/ops/blocked_attention.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "megalith/ops/attention_rows.hpp"
#include "megalith/ops/dropout_mask.hpp"

namespace megalith::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

constexpr int64_t kBlock = 64;
static_assert(kBlock == kMaskBlock);

int64_t round_up(int64_t n) { return (n + kBlock - 1) / kBlock * kBlock; }

/// c [M, N] = (c +) a [M, K] times b [K, N], row by row with the given distances between rows.
void multiply(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, const float* b,
              int64_t b_row, float* c, int64_t c_row, bool add) {
  at::native::cpublas::brgemm(m, n, k, a_row, b_row, c_row, add, a, b, c);
}

/// One head of one sequence of a [S, B, A, D] tensor.
template <class T>
struct HeadView {
  T* data;
  int64_t row;  // distance between positions

  HeadView(const at::Tensor& x, int64_t batch, int64_t head)
      : data(static_cast<T*>(x.data_ptr()) + batch * x.stride(1) + head * x.stride(2)),
        row(x.stride(0)) {}
};

/// Sizes of the call, and what every head needs.
struct Shape {
  int64_t queries, keys, batch, heads, kv_heads, size;
  int64_t padded_queries, padded_keys;
  bool causal;
  float scale;
  std::optional<DropoutMask> mask;
  int64_t mask_blocks;            // of a row of dropout, whatever the keys that a sequence has
  const bool* visible = nullptr;  // of the keys, where some of them are hidden

  Shape(const at::Tensor& q, const at::Tensor& k, bool is_causal, double dropout, uint64_t key)
      : queries(q.size(0)),
        keys(k.size(0)),
        batch(q.size(1)),
        heads(q.size(2)),
        kv_heads(k.size(2)),
        size(q.size(3)),
        padded_queries(round_up(queries)),
        padded_keys(round_up(keys)),
        causal(is_causal),
        scale(1.0f / std::sqrt(static_cast<float>(size))),
        mask_blocks(padded_keys / kMaskBlock) {
    if (dropout > 0) mask = DropoutMask::of(dropout, key);
  }

  /// The sizes for one sequence of key_mask [B, Sk]: no keys behind the last that is seen.
  Shape of_sequence(const at::Tensor& key_mask, int64_t at_batch) const {
    Shape own = *this;
    if (!key_mask.defined()) return own;
    const bool* const seen = key_mask.const_data_ptr<bool>() + at_batch * keys;
    while (own.keys > 0 && !seen[own.keys - 1]) --own.keys;
    own.padded_keys = round_up(own.keys);
    if (!std::all_of(seen, seen + own.keys, [](bool is_seen) { return is_seen; })) {
      own.visible = seen;
    }
    return own;
  }

  int64_t group() const { return heads / kv_heads; }
  /// How many keys, in whole blocks, the queries of a block see, and how many one of them does.
  int64_t block_keys(int64_t first) const { return causal ? first + kBlock : padded_keys; }
  int64_t row_keys(int64_t query) const { return causal ? query + 1 : keys; }
  /// Takes the hidden keys out of a row of n scores.
  void hide(float* row, int64_t n) const {
    if (visible == nullptr) return;
    for (int64_t j = 0; j < n; ++j) {
      if (!visible[j]) row[j] = -std::numeric_limits<float>::infinity();
    }
  }
  /// Drops from a row of `seen` probabilities, or of their gradients.
  void drop(float* row, int64_t seen, int64_t at_batch, int64_t head, int64_t query) const {
    if (!mask) return;
    const int64_t index = (at_batch * heads + head) * queries + query;
    mask_row(row, seen, *mask, static_cast<uint64_t>(index * mask_blocks));
  }
};

/// Calls body(batch, key/value head) for all, shared out among the threads.
template <class Body>
void for_kv_heads(const Shape& shape, const Body& body) {
  at::parallel_for(0, shape.batch * shape.kv_heads, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) body(i / shape.kv_heads, i % shape.kv_heads);
    at::native::cpublas::brgemm_release(/*is_vnni=*/false);
  });
}

using Buffer = std::vector<float>;

/// scores [64, block_keys] of the queries that start at `first`.
void block_scores(const Shape& s, const float* q_block, const Buffer& keys_turned, int64_t first,
                  float* scores) {
  for (int64_t j = 0; j < s.block_keys(first); j += kBlock) {
    multiply(kBlock, kBlock, s.size, q_block, s.size, keys_turned.data() + j, s.padded_keys,
             scores + j, s.padded_keys, false);
  }
}

template <class T>
void forward_heads(const Shape& all, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                   const at::Tensor& key_mask, at::Tensor& out, at::Tensor& log_sums) {
  for_kv_heads(all, [&](int64_t batch, int64_t kv_head) {
    const Shape s = all.of_sequence(key_mask, batch);
    const HeadView<T> k_view(k, batch, kv_head), v_view(v, batch, kv_head);
    Buffer keys(s.padded_keys * s.size), values(s.padded_keys * s.size),
        turned(s.padded_keys * s.size), queries(kBlock * s.size), result(kBlock * s.size),
        scores(kBlock * s.padded_keys);
    gather_rows(k_view.data, k_view.row, s.keys, s.size, 1, keys.data());
    gather_rows(v_view.data, v_view.row, s.keys, s.size, 1, values.data());
    transpose(keys.data(), s.padded_keys, s.size, turned.data());
    for (int64_t head = kv_head * s.group(); head < (kv_head + 1) * s.group(); ++head) {
      const HeadView<T> q_view(q, batch, head), out_view(out, batch, head);
      float* const log_sum = log_sums[batch][head].mutable_data_ptr<float>();
      for (int64_t first = 0; first < s.queries; first += kBlock) {
        const int64_t rows = std::min(kBlock, s.queries - first);
        gather_rows(q_view.data + first * q_view.row, q_view.row, rows, s.size, s.scale,
                    queries.data());
        block_scores(s, queries.data(), turned, first, scores.data());
        const int64_t seen = s.block_keys(first);
        for (int64_t i = 0; i < rows; ++i) {
          float* const row = scores.data() + i * s.padded_keys;
          const int64_t n = s.row_keys(first + i);
          s.hide(row, n);
          const float top = largest(row, n);
          const float sum = exponentiate(row, n, top);
          scale_row(row, n, 1.0f / sum);
          std::fill(row + n, row + seen, 0.0f);
          s.drop(row, seen, batch, head, first + i);
          log_sum[first + i] = top + std::log(sum);
        }
        for (int64_t j = 0; j < seen; j += kBlock) {
          multiply(kBlock, s.size, kBlock, scores.data() + j, s.padded_keys,
                   values.data() + j * s.size, s.size, result.data(), s.size, j > 0);
        }
        scatter_rows(result.data(), rows, s.size, out_view.data + first * out_view.row,
                     out_view.row);
      }
    }
  });
}

/// What the backward pass of one key/value head works on. Turned matrices are [D, positions].
struct BackwardBuffers {
  Buffer keys, keys_turned, values, values_turned, key_slopes, value_slopes;     // all positions
  Buffer queries, queries_turned, slopes, slopes_turned, outputs, query_slopes;  // one block
  Buffer scores, score_slopes;                                                   // [64, keys]

  explicit BackwardBuffers(const Shape& s)
      : keys(s.padded_keys * s.size),
        keys_turned(keys.size()),
        values(keys.size()),
        values_turned(keys.size()),
        key_slopes(keys.size()),
        value_slopes(keys.size()),
        queries(kBlock * s.size),
        queries_turned(queries.size()),
        slopes(queries.size()),
        slopes_turned(queries.size()),
        outputs(queries.size()),
        query_slopes(queries.size()),
        scores(kBlock * s.padded_keys),
        score_slopes(scores.size()) {}
};

/// One block of queries of one head (batch, head): their gradient into b.query_slopes, their share
/// of the keys' and values' added to b.key_slopes and b.value_slopes (both turned).
void backward_block(const Shape& s, int64_t batch, int64_t head, int64_t first, int64_t rows,
                    const float* log_sum, BackwardBuffers& b) {
  const int64_t seen = s.block_keys(first), width = s.padded_keys;
  transpose(b.queries.data(), kBlock, s.size, b.queries_turned.data());
  transpose(b.slopes.data(), kBlock, s.size, b.slopes_turned.data());
  block_scores(s, b.queries.data(), b.keys_turned, first, b.scores.data());
  block_scores(s, b.slopes.data(), b.values_turned, first, b.score_slopes.data());
  for (int64_t i = 0; i < kBlock; ++i) {
    float *const row = b.scores.data() + i * width, *const slope =
                                                        b.score_slopes.data() + i * width;
    const int64_t n = i < rows ? s.row_keys(first + i) : 0;
    if (n > 0) {
      const float mean = dot(b.slopes.data() + i * s.size, b.outputs.data() + i * s.size, s.size);
      s.drop(slope, seen, batch, head, first + i);
      s.hide(row, n);
      score_slopes(row, slope, n, log_sum[first + i], mean);
    }
    std::fill(row + n, row + seen, 0.0f);
    std::fill(slope + n, slope + seen, 0.0f);
    if (n > 0) s.drop(row, seen, batch, head, first + i);
  }
  for (int64_t j = 0; j < seen; j += kBlock) {
    multiply(kBlock, s.size, kBlock, b.score_slopes.data() + j, width, b.keys.data() + j * s.size,
             s.size, b.query_slopes.data(), s.size, j > 0);
    multiply(s.size, kBlock, kBlock, b.slopes_turned.data(), kBlock, b.scores.data() + j, width,
             b.value_slopes.data() + j, width, true);
    multiply(s.size, kBlock, kBlock, b.queries_turned.data(), kBlock, b.score_slopes.data() + j,
             width, b.key_slopes.data() + j, width, true);
  }
  scale_row(b.query_slopes.data(), kBlock * s.size, s.scale);
}

template <class T>
void backward_heads(const Shape& all, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const at::Tensor& key_mask, const at::Tensor& out, const at::Tensor& log_sums,
                    const at::Tensor& d_out, at::Tensor& d_q, at::Tensor& d_k, at::Tensor& d_v) {
  for_kv_heads(all, [&](int64_t batch, int64_t kv_head) {
    const Shape s = all.of_sequence(key_mask, batch);
    BackwardBuffers b(s);
    const HeadView<T> k_view(k, batch, kv_head), v_view(v, batch, kv_head),
        d_k_view(d_k, batch, kv_head), d_v_view(d_v, batch, kv_head);
    gather_rows(k_view.data, k_view.row, s.keys, s.size, 1, b.keys.data());
    gather_rows(v_view.data, v_view.row, s.keys, s.size, 1, b.values.data());
    transpose(b.keys.data(), s.padded_keys, s.size, b.keys_turned.data());
    transpose(b.values.data(), s.padded_keys, s.size, b.values_turned.data());
    for (int64_t head = kv_head * s.group(); head < (kv_head + 1) * s.group(); ++head) {
      const HeadView<T> q_view(q, batch, head), out_view(out, batch, head),
          d_out_view(d_out, batch, head), d_q_view(d_q, batch, head);
      const float* const log_sum = log_sums[batch][head].const_data_ptr<float>();
      for (int64_t first = 0; first < s.queries; first += kBlock) {
        const int64_t rows = std::min(kBlock, s.queries - first);
        const auto take = [&](const HeadView<T>& view, float scale, Buffer& to) {
          if (rows < kBlock) std::fill(to.begin(), to.end(), 0.0f);
          gather_rows(view.data + first * view.row, view.row, rows, s.size, scale, to.data());
        };
        take(q_view, s.scale, b.queries);
        take(d_out_view, 1, b.slopes);
        take(out_view, 1, b.outputs);
        backward_block(s, batch, head, first, rows, log_sum, b);
        scatter_rows(b.query_slopes.data(), rows, s.size, d_q_view.data + first * d_q_view.row,
                     d_q_view.row);
      }
    }
    transpose(b.key_slopes.data(), s.size, s.padded_keys, b.keys.data());
    transpose(b.value_slopes.data(), s.size, s.padded_keys, b.values.data());
    scatter_rows(b.keys.data(), s.keys, s.size, d_k_view.data, d_k_view.row);
    scatter_rows(b.values.data(), s.keys, s.size, d_v_view.data, d_v_view.row);
  });
}

struct BlockedAttention : Function<BlockedAttention> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const std::optional<at::Tensor>& key_mask,
                            bool causal, double dropout, int64_t key) {
    const at::Tensor seen = key_mask.value_or(at::Tensor());
    const Shape shape(q, k, causal, dropout, static_cast<uint64_t>(key));
    at::Tensor out = at::empty(q.sizes(), q.options());
    at::Tensor log_sums =
        at::empty({shape.batch, shape.heads, shape.queries}, q.options().dtype(at::kFloat));
    if (q.scalar_type() == at::kFloat) {
      forward_heads<float>(shape, q, k, v, seen, out, log_sums);
    } else {
      forward_heads<at::BFloat16>(shape, q, k, v, seen, out, log_sums);
    }
    context->save_for_backward({q, k, v, out, log_sums, seen});
    context->saved_data["causal"] = causal;
    context->saved_data["dropout"] = dropout;
    context->saved_data["key"] = key;
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2];
    const Shape shape(q, k, context->saved_data["causal"].toBool(),
                      context->saved_data["dropout"].toDouble(),
                      static_cast<uint64_t>(context->saved_data["key"].toInt()));
    const at::Tensor d_out = gradients[0].contiguous();
    at::Tensor d_q = at::empty(q.sizes(), q.options()), d_k = at::empty(k.sizes(), k.options()),
               d_v = at::empty(v.sizes(), v.options());
    const at::Tensor& seen = saved[5];
    if (seen.defined()) {  // keys that nobody sees are not visited
      d_k.zero_();
      d_v.zero_();
    }
    const auto run =
        q.scalar_type() == at::kFloat ? backward_heads<float> : backward_heads<at::BFloat16>;
    run(shape, q, k, v, seen, saved[3], saved[4], d_out, d_q, d_k, d_v);
    return {d_q, d_k, d_v, {}, {}, {}, {}};
  }
};

/// oneDNN's small products need AVX2.
bool has_small_products() {
#ifdef __x86_64__
  return __builtin_cpu_supports("avx2") > 0;
#else
  return false;
#endif
}

/// The rows of a head must be contiguous.
at::Tensor with_dense_rows(const at::Tensor& x) { return x.stride(-1) == 1 ? x : x.contiguous(); }

}  // namespace

bool takes_blocks(const at::Tensor& queries, const at::Tensor& keys, bool causal) {
  const auto type = queries.scalar_type();
  return queries.device().is_cpu() && (type == at::kFloat || type == at::kBFloat16) &&
         at::hasMKLDNN() && has_small_products() && queries.numel() > 0 && keys.numel() > 0 &&
         (!causal || queries.size(0) == keys.size(0));
}

at::Tensor blocked_attention(const at::Tensor& queries, const at::Tensor& keys,
                             const at::Tensor& values, const BlockedOptions& options) {
  const at::Tensor& mask = options.key_mask;
  TORCH_CHECK(
      !mask.defined() || (!options.causal && mask.scalar_type() == at::kBool && mask.dim() == 2 &&
                          mask.size(0) == keys.size(1) && mask.size(1) == keys.size(0)),
      "attention in blocks takes a bool key mask [B, Sk], and only where it is not causal");
  TORCH_CHECK(!mask.defined() || mask.any(1).all().item<bool>(),
              "attention in blocks: a sequence's key mask hides all of its keys");
  return BlockedAttention::apply(
      with_dense_rows(queries), with_dense_rows(keys), with_dense_rows(values),
      mask.defined() ? std::make_optional(mask.contiguous()) : std::nullopt, options.causal,
      options.dropout, static_cast<int64_t>(options.dropout_key));
}

}  // namespace megalith::ops

// Attention: plain and fused forms against a loop over heads, and finite differences.
#include "megalith/ops/attention.hpp"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "megalith/core/error.hpp"
#include "megalith/ops/blocked_attention.hpp"
#include "megalith/ops/dropout_mask.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

/// So little dropout that no element is dropped: takes the plain form.
constexpr double kPlain = 1e-300;

ops::AttentionOptions options(bool causal, std::optional<at::Tensor> visible, double dropout,
                              uint64_t seed = 3) {
  ops::AttentionOptions made{.causal = causal, .visible = std::move(visible), .dropout = dropout};
  if (dropout > 0) made.generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return made;
}

/// One head of one sequence after another; `visible` [B, 1, S, Sk] or undefined.
at::Tensor by_loops(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal,
                    const std::optional<at::Tensor>& visible) {
  at::Tensor out = at::empty_like(q);
  const int64_t heads = q.size(2), group = heads / k.size(2);
  for (int64_t b = 0; b < q.size(1); ++b) {
    for (int64_t a = 0; a < heads; ++a) {
      const auto head = [b](const at::Tensor& x, int64_t h) { return x.select(1, b).select(1, h); };
      for (int64_t i = 0; i < q.size(0); ++i) {
        at::Tensor scores =
            at::mv(head(k, a / group), head(q, a)[i]) / std::sqrt(double(q.size(3)));
        for (int64_t j = 0; j < k.size(0); ++j) {
          const bool seen =
              (!causal || j <= i) && (!visible || (*visible)[b][0][i][j].item<bool>());
          if (!seen) scores[j].fill_(-std::numeric_limits<double>::infinity());
        }
        const at::Tensor weights = (scores - scores.max()).exp();
        head(out, a)[i].copy_(at::mv(head(v, a / group).t(), weights / weights.sum()));
      }
    }
  }
  return out;
}

TEST(Attention, PlainAndFusedEqualLoopsInEveryForm) {
  const int64_t sequence = 6, batch = 2, size = 5;
  at::Tensor visible = integers({batch, 1, sequence, sequence}, 2, 9).to(at::kBool);
  visible.diagonal(0, -2, -1).fill_(true);
  for (const int64_t kv_heads : {4, 2, 1}) {
    const at::Tensor q = normal({sequence, batch, 4, size}, 1);
    const at::Tensor k = normal({sequence, batch, kv_heads, size}, 2);
    const at::Tensor v = normal({sequence, batch, kv_heads, size}, 3);
    for (const bool causal : {true, false}) {
      for (const auto& mask : {std::optional<at::Tensor>(), std::optional<at::Tensor>(visible)}) {
        const at::Tensor expected = by_loops(q, k, v, causal, mask);
        expect_close(ops::attention(q, k, v, options(causal, mask, 0)), expected, 1e-13, "fused");
        expect_close(ops::attention(q, k, v, options(causal, mask, kPlain)), expected, 1e-13,
                     "plain");
      }
    }
  }
}

TEST(Attention, FewerQueriesThanKeys) {
  const at::Tensor q = normal({1, 2, 4, 5}, 1), k = normal({7, 2, 4, 5}, 2),
                   v = normal({7, 2, 4, 5}, 3);
  at::Tensor visible = at::ones({2, 1, 1, 7}, at::kBool);
  visible[0].narrow(-1, 4, 3).fill_(false);
  expect_close(ops::attention(q, k, v, options(false, visible, 0)),
               by_loops(q, k, v, false, visible), 1e-13);
}

TEST(Attention, NarrowTypesStayNearTheExactResult) {
  const at::Tensor q = normal({16, 2, 4, 8}, 1), k = normal({16, 2, 4, 8}, 2),
                   v = normal({16, 2, 4, 8}, 3);
  for (const double dropout : {0.0, kPlain}) {
    for (const auto& [dtype, tolerance] : {std::pair{at::kFloat, 1e-6}, {at::kBFloat16, 2e-2}}) {
      const auto narrow = [dtype = dtype](const at::Tensor& x) { return x.to(dtype); };
      const at::Tensor out =
          ops::attention(narrow(q), narrow(k), narrow(v), options(true, {}, dropout));
      EXPECT_EQ(out.scalar_type(), dtype);
      const auto wide = [dtype = dtype](const at::Tensor& x) {
        return x.to(dtype).to(at::kDouble);
      };
      expect_close(out, by_loops(wide(q), wide(k), wide(v), true, {}), tolerance);
    }
  }
}

TEST(Attention, GradientsEqualFiniteDifferences) {
  at::Tensor visible = at::ones({2, 1, 3, 3}, at::kBool);
  visible[0][0][2][0].fill_(false);
  for (const auto& mask : {std::optional<at::Tensor>(), std::optional<at::Tensor>(visible)}) {
    for (const double dropout : {0.0, kPlain, 0.4}) {
      const auto function = [&](const std::vector<at::Tensor>& in) {
        return ops::attention(in[0], in[1], in[2], options(true, mask, dropout));
      };
      expect_gradients(function, {normal({3, 2, 2, 2}, 1).set_requires_grad(true),
                                  normal({3, 2, 1, 2}, 2).set_requires_grad(true),
                                  normal({3, 2, 1, 2}, 3).set_requires_grad(true)});
    }
  }
}

TEST(Attention, DropoutIsUnbiasedAndKeyed) {
  const at::Tensor q = normal({4, 1, 2, 4}, 1), k = normal({4, 1, 2, 4}, 2),
                   v = normal({4, 1, 2, 4}, 3);
  const at::Tensor expected = by_loops(q, k, v, true, {});
  at::Tensor mean = at::zeros_like(expected);
  for (uint64_t seed = 0; seed < 500; ++seed) {
    mean += ops::attention(q, k, v, options(true, {}, 0.3, seed)) / 500;
  }
  expect_close(mean, expected, 0.12);
  expect_equal(ops::attention(q, k, v, options(true, {}, 0.3, 1)),
               ops::attention(q, k, v, options(true, {}, 0.3, 1)));
  ops::AttentionOptions without_generator;
  without_generator.dropout = 0.3;
  EXPECT_THROW(ops::attention(q, k, v, without_generator), c10::Error);
}

/// fp32 and bf16 go through blocks of 64: sequences below, at and beyond whole blocks, shared key
/// heads, queries that are views of a wider tensor; outputs and all gradients against double.
TEST(Attention, BlocksEqualTheExactResultAndGradients) {
  for (const auto& [queries, keys, causal] :
       {std::tuple{6, 6, true}, {64, 64, true}, {130, 130, true}, {70, 150, false}}) {
    for (const int64_t kv_heads : {4, 2}) {
      const at::Tensor wide = normal({queries, 2, 4, 3 * 20}, 1),
                       slope = normal({queries, 2, 4, 20}, 4);
      const at::Tensor k = normal({keys, 2, kv_heads, 20}, 2),
                       v = normal({keys, 2, kv_heads, 20}, 3);
      const auto run = [&, causal = causal](at::ScalarType dtype) {
        std::vector<at::Tensor> in{wide.to(dtype).narrow(-1, 20, 20), k.to(dtype), v.to(dtype)};
        for (auto& x : in) x = x.detach().set_requires_grad(true);
        const at::Tensor out = ops::attention(in[0], in[1], in[2], options(causal, {}, 0));
        (out * slope.to(dtype)).sum().backward();
        return std::vector<at::Tensor>{out, in[0].grad(), in[1].grad(), in[2].grad()};
      };
      const auto exact = run(at::kDouble);
      // fp32: sums of 150 products; bf16: inputs and results are rounded to 8 bits.
      for (const auto& [dtype, tolerance] : {std::pair{at::kFloat, 3e-6}, {at::kBFloat16, 3e-2}}) {
        const auto narrow = run(dtype);
        const char* const names[] = {"output", "query", "key", "value"};
        for (size_t i = 0; i < narrow.size(); ++i) {
          EXPECT_EQ(narrow[i].scalar_type(), dtype);
          expect_close(
              narrow[i], exact[i], tolerance,
              fmt::format("{} of {} x {}, {} key heads", names[i], queries, keys, kv_heads));
        }
      }
    }
  }
}

/// [B, Sk]: sequences of several lengths, the first with hidden keys in its middle.
at::Tensor padded_keys(int64_t batch, int64_t keys) {
  at::Tensor mask = at::ones({batch, keys}, at::kBool);
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t padding = b * keys / batch;
    mask[b].narrow(0, keys - padding, padding).fill_(false);
  }
  mask[0].narrow(0, keys / 3, 2).fill_(false);
  return mask;
}

TEST(Attention, KeyMaskIsAMaskOfPairs) {
  const at::Tensor q = normal({6, 3, 4, 5}, 1), k = normal({6, 3, 2, 5}, 2),
                   v = normal({6, 3, 2, 5}, 3);
  const at::Tensor mask = padded_keys(3, 6);
  const auto pairs = [&](const at::Tensor& visible) {
    return mask.unsqueeze(1).unsqueeze(1).logical_and(visible);
  };
  const at::Tensor all = at::ones({1, 1, 6, 6}, at::kBool);
  at::Tensor some = integers({3, 1, 6, 6}, 2, 9).to(at::kBool);
  some.select(-1, 0).fill_(true);
  for (const double dropout : {0.0, kPlain}) {
    for (const bool causal : {false, true}) {
      for (const auto& visible : {std::optional<at::Tensor>(), std::optional<at::Tensor>(some)}) {
        auto made = options(causal, visible, dropout);
        made.key_mask = mask;
        expect_close(ops::attention(q, k, v, made),
                     by_loops(q, k, v, causal, pairs(visible.value_or(all))), 1e-13);
      }
    }
  }
}

/// Keys hidden from all queries, in blocks: outputs and gradients against the plain form in double,
/// with dropout too (whose mask does not depend on how many keys are seen).
TEST(Attention, BlocksHideMaskedKeys) {
  const double probability = 0.3;
  const uint64_t key = 77;
  for (const auto& [queries, keys, kv_heads, dropout] : {std::tuple{6, 6, 4, false},
                                                         {130, 130, 2, false},
                                                         {70, 200, 4, false},
                                                         {130, 130, 4, true}}) {
    const int64_t batch = 3, heads = 4, size = 20;
    const at::Tensor q = normal({queries, batch, heads, size}, 1),
                     k = normal({keys, batch, kv_heads, size}, 2),
                     v = normal({keys, batch, kv_heads, size}, 3),
                     slope = normal({queries, batch, heads, size}, 4);
    const at::Tensor mask = padded_keys(batch, keys);
    at::Tensor factors;
    if (dropout) {
      const int64_t padded = (keys + 63) / 64 * 64;
      factors = at::empty({batch * heads * queries, padded}, at::kFloat);
      for (int64_t block = 0; block < factors.numel() / 64; ++block) {
        ops::mask_factors(ops::DropoutMask::of(probability, key), block,
                          factors.mutable_data_ptr<float>() + 64 * block);
      }
      factors = factors.view({batch, heads, queries, padded}).narrow(-1, 0, keys);
    }
    const auto exact_attention = [&](const std::vector<at::Tensor>& in) {
      const auto first = [](const at::Tensor& x) { return x.permute({1, 2, 0, 3}); };
      const auto all_heads = [&](const at::Tensor& x) {
        return first(x).repeat_interleave(heads / x.size(2), 1);
      };
      at::Tensor scores = at::matmul(first(in[0]), all_heads(in[1]).transpose(-1, -2)) /
                          std::sqrt(static_cast<double>(size));
      scores = scores.masked_fill(mask.unsqueeze(1).unsqueeze(1).logical_not(),
                                  -std::numeric_limits<double>::infinity());
      at::Tensor kept = scores.softmax(-1);
      if (factors.defined()) kept = kept * factors;
      return at::matmul(kept, all_heads(in[2])).permute({2, 0, 1, 3});
    };
    const auto run = [&, is_dropped = dropout](at::ScalarType dtype) {
      std::vector<at::Tensor> in{q.to(dtype, false, true), k.to(dtype, false, true),
                                 v.to(dtype, false, true)};
      for (auto& x : in) x.set_requires_grad(true);
      const at::Tensor out = dtype == at::kDouble
                                 ? exact_attention(in)
                                 : ops::blocked_attention(in[0], in[1], in[2],
                                                          {.causal = false,
                                                           .key_mask = mask,
                                                           .dropout = is_dropped ? probability : 0,
                                                           .dropout_key = key});
      (out * slope.to(dtype)).sum().backward();
      return std::vector<at::Tensor>{out, in[0].grad(), in[1].grad(), in[2].grad()};
    };
    const auto exact = run(at::kDouble);
    for (const auto& [dtype, tolerance] : {std::pair{at::kFloat, 3e-6}, {at::kBFloat16, 3e-2}}) {
      const auto narrow = run(dtype);
      for (size_t i = 0; i < narrow.size(); ++i) {
        expect_close(narrow[i], exact[i], tolerance,
                     fmt::format("{} of {} x {}", i, queries, keys));
      }
      const at::Tensor hidden = mask.logical_not().t();  // [Sk, B]
      for (const size_t i : {2, 3}) {
        EXPECT_EQ(narrow[i].index({hidden}).abs().sum().item<float>(), 0);
      }
    }
  }
}

TEST(Attention, BlocksRefuseASequenceWithoutKeys) {
  const at::Tensor x = normal({6, 2, 1, 4}, 1).to(at::kFloat);
  at::Tensor mask = at::ones({2, 6}, at::kBool);
  mask[1].fill_(false);
  EXPECT_THROW(ops::blocked_attention(x, x, x, {.causal = false, .key_mask = mask}), c10::Error);
}

/// Scores beyond the range of exp, and a query that is not a number.
TEST(Attention, BlocksKeepLargeScoresAndNotANumber) {
  at::Tensor q = normal({70, 1, 1, 16}, 1) * 100, k = normal({70, 1, 1, 16}, 2) * 100;
  const at::Tensor v = normal({70, 1, 1, 16}, 3);
  const auto narrow = [](const at::Tensor& t) { return t.to(at::kFloat); };
  const at::Tensor exact =
      ops::attention(narrow(q).to(at::kDouble), narrow(k).to(at::kDouble), v, options(true, {}, 0));
  // A score of 40,000 is rounded by 2e-3, and its weight changes by as much.
  expect_close(ops::attention(narrow(q), narrow(k), narrow(v), options(true, {}, 0)), exact, 1e-2);
  q[5].fill_(std::numeric_limits<double>::quiet_NaN());
  const at::Tensor out = ops::attention(narrow(q), narrow(k), narrow(v), options(true, {}, 0));
  EXPECT_TRUE(at::isnan(out[5]).all().item<bool>());
  EXPECT_FALSE(at::isnan(out[4]).any().item<bool>());
  EXPECT_FALSE(at::isnan(out[69]).any().item<bool>());
}

/// Dropout in blocks: the mask, put together from its definition, in plain double attention.
TEST(Attention, BlocksDropByTheMaskOfTheirKey) {
  const int64_t sequence = 100, batch = 2, heads = 3, size = 16;
  const double probability = 0.3;
  const uint64_t key = 0x123456789abcdefULL;
  const auto mask = ops::DropoutMask::of(probability, key);
  const int64_t padded = 128;
  at::Tensor factors = at::empty({batch * heads * sequence, padded}, at::kFloat);
  for (int64_t block = 0; block < factors.numel() / 64; ++block) {
    ops::mask_factors(mask, block, factors.mutable_data_ptr<float>() + 64 * block);
  }
  factors = factors.view({batch, heads, sequence, padded}).narrow(-1, 0, sequence);
  const at::Tensor q = normal({sequence, batch, heads, size}, 1),
                   k = normal({sequence, batch, heads, size}, 2),
                   v = normal({sequence, batch, heads, size}, 3),
                   slope = normal({sequence, batch, heads, size}, 4);
  const auto exact_attention = [&](const std::vector<at::Tensor>& in) {
    const auto first = [](const at::Tensor& x) { return x.permute({1, 2, 0, 3}); };
    const at::Tensor scores =
        at::matmul(first(in[0]), first(in[1]).transpose(-1, -2)) / std::sqrt(double(size));
    const at::Tensor future = at::ones({sequence, sequence}, at::kBool).triu(1);
    const double hidden = -std::numeric_limits<double>::infinity();
    const at::Tensor kept = scores.masked_fill(future, hidden).softmax(-1) * factors;
    return at::matmul(kept, first(in[2])).permute({2, 0, 1, 3});
  };
  const auto run = [&](at::ScalarType dtype) {
    std::vector<at::Tensor> in{q.to(dtype, false, true), k.to(dtype, false, true),
                               v.to(dtype, false, true)};
    for (auto& x : in) x.set_requires_grad(true);
    const at::Tensor out =
        dtype == at::kDouble
            ? exact_attention(in)
            : ops::blocked_attention(in[0], in[1], in[2],
                                     {.key_mask = {}, .dropout = probability, .dropout_key = key});
    (out * slope.to(dtype)).sum().backward();
    return std::vector<at::Tensor>{out, in[0].grad(), in[1].grad(), in[2].grad()};
  };
  const auto exact = run(at::kDouble), narrow = run(at::kFloat);
  for (size_t i = 0; i < narrow.size(); ++i) expect_close(narrow[i], exact[i], 3e-6);
}

}  // namespace
}  // namespace megalith::testing

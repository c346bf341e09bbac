// The split vocabulary: embedding, tied logits, cross entropy and its gradient (sizes and seeds of
// the paper's own test_cross_entropy.py and test_layers.py).
#include "megalith/layers/vocab_parallel.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "layers/sharded_run.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

class VocabParallel : public ::testing::TestWithParam<int64_t> {};

/// Batch 13, sequence 17, 11 ids a rank, logits scaled by 1000.
TEST_P(VocabParallel, CrossEntropyAndGradientEqualPyTorch) {
  const int64_t size = GetParam(), vocabulary = 11 * size;
  const at::Tensor targets = integers({13, 17}, vocabulary, 1234);
  const at::Tensor slope = normal({13, 17}, 7);
  for (const double scale : {1.0, 1000.0}) {
    const at::Tensor logits = (normal({13, 17, vocabulary}, 1234) * scale).set_requires_grad(true);
    const at::Tensor expected = at::cross_entropy_loss(logits.view({-1, vocabulary}),
                                                       targets.view({-1}), {}, at::Reduction::None)
                                    .view({13, 17});
    (expected * slope).sum().backward();
    for (const auto& [dtype, tolerance] : {std::pair{at::kDouble, 1e-12}, {at::kFloat, 1e-6}}) {
      run_ranks({.tensor = size}, [&, dtype = dtype, tolerance = tolerance](RankContext& ctx) {
        const at::Tensor mine = logits.detach().narrow(-1, 11 * ctx.rank(), 11).to(dtype).clone();
        mine.set_requires_grad(true);
        const VocabRange range = vocab_range(vocabulary, vocabulary, ctx.groups().tensor());
        const at::Tensor loss =
            vocab_parallel_cross_entropy(mine, targets, range, ctx.groups().tensor());
        (loss * slope).sum().backward();
        expect_close(loss, expected, tolerance, "loss");
        // fp32 rounds the logits themselves by up to 2.4e-4 at 4000, which moves the softmax.
        const double gradient_tolerance = dtype == at::kFloat && scale > 1 ? 2e-3 : tolerance;
        expect_close(mine.grad(), logits.grad().narrow(-1, 11 * ctx.rank(), 11), gradient_tolerance,
                     "gradient");
        const auto& entries = ctx.groups().traffic()->entries;
        if (size > 1) {
          EXPECT_EQ(entries.at("all_reduce tensor").calls, 3);
          EXPECT_EQ(entries.at("all_reduce tensor").bytes,
                    3 * 13 * 17 * static_cast<int64_t>(c10::elementSize(dtype)));
        }
      });
    }
  }
}

/// The paper-era test proper: everything in fp32, ours against PyTorch's, below 1e-6.
TEST_P(VocabParallel, CrossEntropyInSinglePrecisionEqualsPyTorchs) {
  const int64_t size = GetParam(), vocabulary = 11 * size;
  const at::Tensor targets = integers({13, 17}, vocabulary, 1234);
  const at::Tensor logits = (normal({13, 17, vocabulary}, 1234) * 1000).to(at::kFloat);
  logits.set_requires_grad(true);
  const at::Tensor expected = at::cross_entropy_loss(logits.view({-1, vocabulary}),
                                                     targets.view({-1}), {}, at::Reduction::Mean);
  expected.backward();
  run_ranks({.tensor = size}, [&](RankContext& ctx) {
    const at::Tensor mine = logits.detach().narrow(-1, 11 * ctx.rank(), 11).clone();
    mine.set_requires_grad(true);
    const VocabRange range = vocab_range(vocabulary, vocabulary, ctx.groups().tensor());
    const at::Tensor loss =
        vocab_parallel_cross_entropy(mine, targets, range, ctx.groups().tensor()).mean();
    loss.backward();
    expect_close(loss, expected, 1e-6, "loss");
    EXPECT_LT(
        (mine.grad() - logits.grad().narrow(-1, 11 * ctx.rank(), 11)).abs().max().item<float>(),
        1e-6);
  });
}

/// Batch 17, sequence 23, vocabulary 48, hidden size 16.
TEST_P(VocabParallel, EmbeddingAndWeightGradientEqualTheOrdinary) {
  const at::Tensor ids = integers({17, 23}, 48, 1236);
  for (const int64_t padded : {48, 64}) {
    const LayerRun run = run_layer(
        [padded](const ParameterBuilder& builder, const ProcessGroups& groups) {
          const VocabParallelEmbedding embedding(builder, "embedding", 48, padded, 16,
                                                 Init::normal(1), groups.tensor());
          return [embedding](const at::Tensor& x) { return embedding.forward(x); };
        },
        GetParam(), ids);
    ParameterList list;
    ParameterBuilder(list, at::kDouble, at::kCPU, 1, 0, 1)
        .vocabulary("embedding.weight", 48, 48, 16, Init::zeros());
    const at::Tensor weight = random_globals(list, 0.3).at("embedding.weight");
    weight.set_requires_grad(true);
    const at::Tensor expected = at::embedding(weight, ids);
    (expected * normal({17, 23, 16}, 99)).sum().backward();
    expect_close(run.output, expected, 1e-12, "output");
    expect_close(run.gradients.at("embedding.weight"), weight.grad(), 1e-12, "weight gradient");
    if (GetParam() > 1) {
      EXPECT_EQ(run.traffic.entries.at("all_reduce tensor").calls, 1);
    }
  }
}

TEST_P(VocabParallel, PaddingIsGatheredAwayAndNoClassOfTheLoss) {
  const int64_t size = GetParam(), padded = 48;
  const at::Tensor whole = normal({41, 6}, 2), hidden = normal({3, 2, 6}, 1);
  const at::Tensor targets = integers({3, 2}, 41, 3);
  const at::Tensor expected = at::matmul(hidden, whole.t());
  const at::Tensor expected_loss =
      at::cross_entropy_loss(expected.view({6, 41}), targets.view({6}), {}, at::Reduction::None);
  run_ranks({.tensor = size}, [&](RankContext& ctx) {
    const at::NoGradGuard no_grad;
    const auto& group = ctx.groups().tensor();
    const VocabRange range = vocab_range(41, padded, group);
    at::Tensor weight = at::zeros({range.rows, 6}, at::kDouble);
    weight.narrow(0, 0, range.valid).copy_(whole.narrow(0, range.first, range.valid));
    const at::Tensor logits = vocab_parallel_logits(hidden, weight, {}, group);
    expect_close(gather_logits(logits, 41, group), expected, 1e-13);
    expect_close(vocab_parallel_cross_entropy(logits, targets, range, group).view({6}),
                 expected_loss, 1e-13);
  });
}

TEST_P(VocabParallel, RangesCoverTheVocabularyOnce) {
  const int64_t size = GetParam();
  for (const int64_t vocabulary : {1, 8, 31, 32}) {
    int64_t next = 0;
    for (int64_t rank = 0; rank < size; ++rank) {
      Group group;
      group.ranks.resize(size);
      group.rank = rank;
      const VocabRange range = vocab_range(vocabulary, 32, group);
      EXPECT_EQ(range.first, rank * 32 / size);
      EXPECT_EQ(range.rows, 32 / size);
      if (range.valid > 0) {
        EXPECT_EQ(range.first, next);
      }
      next += range.valid;
    }
    EXPECT_EQ(next, vocabulary);
  }
}
INSTANTIATE_TEST_SUITE_P(TensorSizes, VocabParallel, ::testing::Values(1, 2, 4));

}  // namespace
}  // namespace megalith::testing

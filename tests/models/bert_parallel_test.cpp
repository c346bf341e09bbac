// A whole two-layer BERT: tensor x data parallel equals serial, in double, whatever the variant;
// padding changes nothing; recompute gives the same bits; the counts are the paper's.
//
// Serial itself is held to transformers in bert_golden_test.cpp.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "megalith/planner/plan.hpp"
#include "models/tiny_bert.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

const Layout kBertLayouts[] = {
    {.tensor = 2}, {.tensor = 4}, {.data = 2}, {.tensor = 2, .data = 2}, {.tensor = 4, .data = 2}};

void expect_same_bert_step(const BertStepResult& actual, const BertStepResult& expected,
                           const std::string& context) {
  ASSERT_EQ(actual.losses.size(), expected.losses.size());
  for (size_t i = 0; i < actual.losses.size(); ++i) {
    expect_close(actual.losses[i], expected.losses[i], 1e-12, context + "loss");
  }
  expect_close_maps(actual.gradients, expected.gradients, 1e-12, context + "gradient of ");
}

std::string layout_name(const Layout& layout) {
  return fmt::format("TP {} x DP {}: ", layout.tensor, layout.data);
}

TEST(BertParallel, LossesAndEveryGradientEqualSerialInEveryVariant) {
  for (const auto& [name, config] : tiny_bert_variants()) {
    const TinyBertBatch batch = tiny_bert_batch();
    const BertStepResult serial = run_bert_step(config, {}, batch);
    for (const Layout& layout : kBertLayouts) {
      expect_same_bert_step(run_bert_step(config, layout, batch), serial,
                            name + ", " + layout_name(layout));
    }
  }
}

TEST(BertParallel, OverGlooEqualsSerial) {
  const TinyBertBatch batch = tiny_bert_batch();
  const BertStepResult serial = run_bert_step(tiny_bert(), {}, batch);
  for (const Layout& layout : {Layout{.tensor = 2, .data = 2}, Layout{.tensor = 4}}) {
    expect_same_bert_step(run_bert_step(tiny_bert(), layout, batch, {.over_gloo = true}), serial,
                          layout_name(layout));
  }
}

TEST(BertParallel, LogitsOfPredictedPlacesAreEnough) {
  TinyBertBatch batch = tiny_bert_batch();
  const BertStepResult chosen = run_bert_step(tiny_bert(), {}, batch);
  batch.targets.predicted = at::Tensor();
  expect_same_bert_step(run_bert_step(tiny_bert(), {}, batch), chosen, "");
}

TEST(BertParallel, HiddenDropoutDoesNotDependOnTensorSize) {
  ModelConfig config = tiny_bert();
  config.hidden_dropout = 0.3;
  const TinyBertBatch batch = tiny_bert_batch();
  const BertStepResult serial = run_bert_step(config, {}, batch, {.training = true});
  const BertStepResult without = run_bert_step(config, {}, batch);
  EXPECT_GT(std::abs((serial.losses[0] - without.losses[0]).item<double>()), 1e-3);
  for (const Layout& layout : {Layout{.tensor = 2}, Layout{.tensor = 4}}) {
    expect_same_bert_step(run_bert_step(config, layout, batch, {.training = true}), serial,
                          layout_name(layout));
  }
}

/// Other tokens, types and positions in the padding: the same bits in every loss and gradient.
TEST(BertPadding, ChangesNothing) {
  ModelConfig config = tiny_bert();
  config.hidden_dropout = config.attention_dropout = 0.2;
  const TinyBertBatch batch = tiny_bert_batch();
  TinyBertBatch changed = batch;
  const at::Tensor& is_token = batch.input.padding_mask;
  changed.input.tokens = at::where(is_token, batch.input.tokens, (batch.input.tokens + 7) % 45);
  changed.input.token_types =
      at::where(is_token, batch.input.token_types, 1 - batch.input.token_types);
  changed.input.position_ids =
      at::where(is_token, batch.input.position_ids, batch.input.position_ids - 3);
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    for (const bool training : {false, true}) {
      const StepOptions options{.training = training, .dtype = dtype};
      const BertStepResult one = run_bert_step(config, {}, batch, options);
      const BertStepResult other = run_bert_step(config, {}, changed, options);
      for (size_t i = 0; i < one.losses.size(); ++i) expect_equal(one.losses[i], other.losses[i]);
      expect_equal_maps(one.gradients, other.gradients);
    }
  }
  // It is the mask that does it.
  TinyBertBatch seen = batch, seen_changed = changed;
  seen.input.padding_mask = seen_changed.input.padding_mask = at::ones_like(is_token);
  EXPECT_FALSE(at::equal(run_bert_step(config, {}, seen).losses[0],
                         run_bert_step(config, {}, seen_changed).losses[0]));
}

/// More padding: the same numbers, as far as other shapes of products allow.
TEST(BertPadding, MoreOfItChangesNothing) {
  const TinyBertBatch batch = tiny_bert_batch();
  TinyBertBatch wider = batch;
  const auto widen = [](const at::Tensor& x, int64_t dim = 1) {
    auto shape = x.sizes().vec();
    shape[dim] = 3;
    return at::cat({x, at::zeros(shape, x.options())}, dim);
  };
  wider.input.tokens = widen(batch.input.tokens);
  wider.input.position_ids = widen(batch.input.position_ids);
  wider.input.token_types = widen(batch.input.token_types);
  wider.input.padding_mask = widen(batch.input.padding_mask);
  wider.targets.labels = widen(batch.targets.labels);
  wider.targets.loss_mask = widen(batch.targets.loss_mask, 0);
  expect_same_bert_step(run_bert_step(tiny_bert(), {}, wider),
                        run_bert_step(tiny_bert(), {}, batch), "");
}

TEST(BertRecompute, EveryPlanGivesTheSameBitsWithDropout) {
  using Kind = RecomputePlan::Kind;
  for (const bool original_order : {false, true}) {
    ModelConfig config = tiny_bert();
    config.residual_post_layernorm = original_order;
    config.num_layers = 3;
    config.hidden_dropout = 0.2;
    config.attention_dropout = 0.3;
    const TinyBertBatch batch = tiny_bert_batch();
    for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
      for (const Layout& layout : {Layout{}, Layout{.tensor = 2, .data = 2}}) {
        const auto run = [&](const RecomputePlan& plan) {
          return run_bert_step(config, layout, batch,
                               {.recompute = plan, .training = true, .dtype = dtype});
        };
        const BertStepResult plain = run({});
        for (const RecomputePlan& plan :
             {RecomputePlan{Kind::kSelective}, RecomputePlan{Kind::kUniform, 1},
              RecomputePlan{Kind::kUniform, 2}, RecomputePlan{Kind::kBlock, 2}}) {
          const BertStepResult again = run(plan);
          for (size_t i = 0; i < again.losses.size(); ++i) {
            expect_equal(again.losses[i], plain.losses[i]);
          }
          expect_equal_maps(again.gradients, plain.gradients);
        }
      }
    }
  }
}

TEST(BertInit, SameModelForEveryLayout) {
  const auto weights_on = [](const Layout& layout) {
    GlobalTensors weights;
    run_ranks(layout, [&](RankContext& ctx) {
      const BertModel model(tiny_bert(), ctx.groups(), at::kFloat, at::kCPU, 1234);
      weights.add_values(model.parameters());
    });
    return weights.take();
  };
  const TensorMap serial = weights_on({});
  for (const Layout& layout : kBertLayouts) expect_equal_maps(weights_on(layout), serial);
  int64_t count = 0;
  for (const auto& [name, weight] : serial) count += weight.numel();
  EXPECT_EQ(tiny_bert().num_parameters(45), count);
  EXPECT_NEAR(serial.at("lm_head.dense.weight").std().item<double>(), 0.02, 0.003);
  EXPECT_EQ(serial.at("lm_head.bias").abs().sum().item<double>(), 0);
}

/// What --dry-run says of a rank.
TEST(BertInit, PlannedShareIsWhatARankHolds) {
  for (const auto& [name, config] : tiny_bert_variants()) {
    for (const int64_t tensor : {1, 2, 4}) {
      PlanRequest request;
      request.model = config;
      request.layout.tensor = tensor;
      run_ranks(request.layout, [&, variant = name](RankContext& ctx) {
        const BertModel model(request.model, ctx.groups(), at::kFloat, at::kCPU, 1);
        int64_t held = 0;
        for (const auto& parameter : model.parameters()) held += parameter.value.numel();
        EXPECT_EQ(make_plan(request).rank_parameters, held) << variant;
      });
    }
  }
}

/// Section 5.3 of the paper, at the padded vocabulary of 30,592.
TEST(BertInit, CountsAreThePapers) {
  for (const auto& [layers, hidden, heads, count] : {std::tuple{24, 1024, 16, 336'297'858L},
                                                     {24, 2048, 32, 1'280'739'202L},
                                                     {48, 2560, 40, 3'869'260'674L}}) {
    ModelConfig config;
    config.num_layers = layers;
    config.hidden_size = hidden;
    config.num_attention_heads = heads;
    config.max_position_embeddings = 512;
    config.vocab_size = 30'522;
    config.become_bert(true);
    EXPECT_EQ(config.num_parameters(config.padded_vocab_size(1)), count);
  }
}

/// Biases and norms have no weight decay, the bias over the vocabulary neither.
TEST(BertInit, WeightDecayIsForMatrices) {
  const BertModel model(tiny_bert(), ProcessGroups(), at::kFloat, at::kCPU, 1);
  for (const auto& parameter : model.parameters()) {
    EXPECT_EQ(parameter.weight_decay, parameter.value.dim() == 2) << parameter.name;
  }
}

}  // namespace
}  // namespace megalith::testing

// Recompute on = off, bit for bit, with dropout: losses and every gradient.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "models/tiny_gpt.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

using Kind = RecomputePlan::Kind;

TEST(GptRecompute, EveryPlanGivesTheSameBitsWithDropout) {
  for (const auto& [name, base] : {tiny_variants().front(), tiny_variants().back()}) {
    ModelConfig config = base;
    config.num_layers = 3;
    config.hidden_dropout = 0.2;
    config.attention_dropout = 0.3;
    const TinyBatch batch = tiny_batch(config);
    for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
      for (const Layout& layout : {Layout{}, Layout{.tensor = 2, .data = 2}}) {
        const auto run = [&](const RecomputePlan& plan) {
          return run_step(config, layout, batch,
                          {.recompute = plan, .training = true, .dtype = dtype});
        };
        const StepResult plain = run({});
        for (const RecomputePlan& plan :
             {RecomputePlan{Kind::kSelective}, RecomputePlan{Kind::kUniform, 1},
              RecomputePlan{Kind::kUniform, 2}, RecomputePlan{Kind::kUniform, 3},
              RecomputePlan{Kind::kBlock, 1}, RecomputePlan{Kind::kBlock, 2}}) {
          const auto context =
              fmt::format("{} plan {}/{}: ", name, int(plan.kind), plan.num_layers);
          const StepResult again = run(plan);
          expect_equal(again.token_losses, plain.token_losses, context + "losses");
          expect_equal_maps(again.gradients, plain.gradients, context);
        }
      }
    }
  }
}

TEST(GptRecompute, DropoutChangesWithEveryWordOfTheKeyItShould) {
  ModelConfig config = tiny_gpt2();
  config.hidden_dropout = 0.5;
  const TinyBatch batch = tiny_batch(config);
  const GptModel model(config, ProcessGroups(), at::kDouble, at::kCPU, 1);
  const auto losses = [&](const StepKey& key) {
    LayerContext context;
    context.training = true;
    context.key = key;
    return model.token_losses({batch.tokens, batch.position_ids, {}}, batch.labels, context);
  };
  const at::Tensor base = losses({});
  expect_equal(losses({}), base);
  expect_equal(losses({.tensor_rank = 1}), base);  // replicated activations: the same mask
  for (const StepKey& key : {StepKey{.seed = 1}, StepKey{.iteration = 1}, StepKey{.micro_batch = 1},
                             StepKey{.data_rank = 1}}) {
    EXPECT_FALSE(at::equal(losses(key), base));
  }
  LayerContext evaluating;
  const at::Tensor quiet =
      model.token_losses({batch.tokens, batch.position_ids, {}}, batch.labels, evaluating);
  EXPECT_FALSE(at::equal(quiet, base));
}

}  // namespace
}  // namespace megalith::testing

// The initial model does not depend on the layout, and has the parameters it should.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/tiny_gpt.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

TensorMap initial_weights(const ModelConfig& config, const Layout& layout, int64_t seed,
                          at::ScalarType dtype) {
  GlobalTensors weights;
  run_ranks(layout, [&](RankContext& ctx) {
    GptModel model(config, ctx.groups(), dtype, at::kCPU, seed);
    weights.add_values(model.parameters());
  });
  return weights.take();
}

TEST(GptInit, SameModelForEveryLayout) {
  for (const auto& [name, config] : tiny_variants()) {
    const TensorMap serial = initial_weights(config, {}, 1234, at::kFloat);
    for (const Layout& layout :
         {Layout{.tensor = 2}, Layout{.tensor = 4}, Layout{.tensor = 2, .data = 2}}) {
      expect_equal_maps(initial_weights(config, layout, 1234, at::kFloat), serial, name + ": ");
    }
  }
}

TEST(GptInit, PrecisionRoundsTheSameModel) {
  const ModelConfig config = tiny_gpt2();
  const TensorMap exact = initial_weights(config, {}, 1, at::kDouble);
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const TensorMap rounded = initial_weights(config, {.tensor = 2}, 1, dtype);
    for (const auto& [name, value] : exact) {
      expect_equal(rounded.at(name), value.to(at::kFloat).to(dtype), name);
    }
  }
}

TEST(GptInit, SeedAndNameMatter) {
  const ModelConfig config = tiny_gpt2();
  const TensorMap one = initial_weights(config, {}, 1, at::kDouble);
  const TensorMap two = initial_weights(config, {}, 2, at::kDouble);
  const auto query = [](int64_t layer) {
    return fmt::format("decoder.layers.{}.self_attention.query.weight", layer);
  };
  EXPECT_FALSE(at::equal(one.at(query(0)), two.at(query(0))));
  EXPECT_FALSE(at::equal(one.at(query(0)), one.at(query(1))));
}

/// Normal(0, 0.02); 0.02 / sqrt(2 L) before a residual add; biases 0, norm weights 1 (section 3).
TEST(GptInit, StandardDeviationsAreThePapers) {
  ModelConfig config = tiny_gpt2();
  config.hidden_size = 128;
  config.num_layers = 8;
  config.vocab_size = 500;
  for (const auto& [name, value] : initial_weights(config, {.tensor = 2}, 3, at::kDouble)) {
    if (name.ends_with(".bias")) {
      EXPECT_EQ(value.abs().max().item<double>(), 0) << name;
    } else if (value.dim() == 1) {
      EXPECT_TRUE(value.eq(1).all().item<bool>()) << name;
    } else {
      const bool before_residual =
          name.ends_with("linear_proj.weight") || name.ends_with("linear_fc2.weight");
      const double std = before_residual ? 0.02 / std::sqrt(16.0) : 0.02;
      const double n = static_cast<double>(value.numel());
      EXPECT_NEAR(value.mean().item<double>(), 0, 5 * std / std::sqrt(n)) << name;
      EXPECT_NEAR(value.std().item<double>() / std, 1, 5 / std::sqrt(2 * n)) << name;
    }
  }
}

TEST(GptInit, CountFormulaEqualsTheModelsParameters) {
  for (const auto& [name, config] : tiny_variants()) {
    const GptModel model(config, ProcessGroups(), at::kFloat, at::kCPU, 1);
    int64_t count = 0;
    for (const auto& parameter : model.parameters()) count += parameter.shard.num_elements();
    EXPECT_EQ(config.num_parameters(config.vocab_size), count) << name;
  }
}

/// Names and splits are the checkpoint's format.
TEST(GptInit, WeightDecaySparesBiasesAndNorms) {
  for (const auto& [name, config] : tiny_variants()) {
    const GptModel model(config, ProcessGroups(), at::kFloat, at::kCPU, 1);
    for (const auto& parameter : model.parameters()) {
      EXPECT_EQ(parameter.weight_decay, parameter.value.dim() == 2) << name << parameter.name;
    }
  }
}

struct PaperModel {
  int64_t hidden, heads, layers, parameters;
};

/// Table 1 and Table 2 of the paper at a vocabulary of 51,200 and 1,024 positions.
TEST(GptInit, PaperModelsHaveThePapersParameters) {
  for (const PaperModel& paper : {PaperModel{1024, 16, 24, 355'788'800},
                                  {1536, 16, 40, 1'213'479'936},
                                  {1920, 20, 54, 2'490'408'960},
                                  {2304, 24, 64, 4'199'109'120},
                                  {3072, 32, 72, 8'317'040'640},
                                  {3072, 24, 72, 8'317'040'640}}) {
    ModelConfig config;
    config.hidden_size = paper.hidden;
    config.num_attention_heads = paper.heads;
    config.num_layers = paper.layers;
    config.max_position_embeddings = 1024;
    config.vocab_size = 50257;
    for (const int64_t tensor : {1, 2, 4, 8}) {
      config.make_vocab_size_divisible_by = 1024 / tensor;
      EXPECT_EQ(config.padded_vocab_size(tensor), 51'200);
    }
    EXPECT_EQ(config.num_parameters(51'200), paper.parameters) << paper.hidden;
  }
}

}  // namespace
}  // namespace megalith::testing

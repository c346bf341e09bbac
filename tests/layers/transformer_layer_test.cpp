// Self attention, MLP and the whole transformer layer: every tensor size equals one process.
//
// Sizes of the paper's own test_layers.py (head size 7, batch 5), in double at 1e-10 instead of its
// 5e-6 and 5e-5. What the layer computes at all is held to transformers in tests/models.
#include "megalith/layers/transformer_layer.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "layers/sharded_run.hpp"
#include "megalith/layers/recompute.hpp"
#include "megalith/ops/elementwise.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

constexpr double kLayerTolerance = 1e-10;

ModelConfig layer_config() {
  ModelConfig config;
  config.num_layers = 3;
  config.num_attention_heads = 8;
  config.hidden_size = 56;
  config.hidden_dropout = config.attention_dropout = 0;
  return config;
}

ModelConfig modern_config() {
  ModelConfig config = layer_config();
  config.normalization = Normalization::kRmsNorm;
  config.swiglu = config.disable_bias_linear = config.group_query_attention = true;
  config.num_query_groups_flag = 4;
  config.ffn_hidden_size_flag = 24;
  return config;
}

template <class Layer, class... Rest>
LayerBuilder built(const ModelConfig& config, const LayerContext& context, Rest... rest) {
  return [=](const ParameterBuilder& builder, const ProcessGroups& groups) {
    LayerContext mine = context;
    mine.key.tensor_rank = groups.tensor().rank;
    const auto layer = std::make_shared<Layer>(builder, config, rest..., groups.tensor());
    return [layer, mine](const at::Tensor& x) {
      if constexpr (std::is_same_v<Layer, Mlp>) {
        return layer->forward(x);
      } else {
        return layer->forward(x, mine);
      }
    };
  };
}

void expect_every_size_equals_serial(const LayerBuilder& layer, int64_t all_reduces) {
  const at::Tensor x = normal({13, 5, 56}, 21);
  const LayerRun serial = run_layer(layer, 1, x);
  for (const int64_t size : {2, 4}) {
    const LayerRun parallel = run_layer(layer, size, x);
    const auto context = fmt::format("TP {}: ", size);
    expect_close(parallel.output, serial.output, kLayerTolerance, context + "output");
    expect_close(parallel.input_gradient, serial.input_gradient, kLayerTolerance,
                 context + "input gradient");
    expect_close_maps(parallel.gradients, serial.gradients, kLayerTolerance,
                      context + "gradient of ");
    const auto& entry = parallel.traffic.entries.at("all_reduce tensor");
    EXPECT_EQ(entry.calls, all_reduces) << context;
    EXPECT_EQ(entry.bytes, all_reduces * 13 * 5 * 56 * 8) << context;
  }
}

TEST(TransformerLayers, SelfAttentionEqualsSerial) {
  expect_every_size_equals_serial(built<SelfAttention>(layer_config(), {}, int64_t(1)), 2);
  expect_every_size_equals_serial(built<SelfAttention>(modern_config(), {}, int64_t(1)), 2);
}

TEST(TransformerLayers, MlpEqualsSerial) {
  expect_every_size_equals_serial(built<Mlp>(layer_config(), {}), 2);
  expect_every_size_equals_serial(built<Mlp>(modern_config(), {}), 2);
}

TEST(TransformerLayers, LayerEqualsSerial) {
  expect_every_size_equals_serial(built<TransformerLayer>(layer_config(), {}, int64_t(1)), 4);
  expect_every_size_equals_serial(built<TransformerLayer>(modern_config(), {}, int64_t(1)), 4);
}

/// The same masks on every rank and for every tensor size.
TEST(TransformerLayers, DropoutOutsideTheRegionIsTheSameOnEveryRank) {
  ModelConfig config = layer_config();
  config.hidden_dropout = 0.4;
  LayerContext training;
  training.training = true;
  training.key.seed = 3;
  expect_every_size_equals_serial(built<TransformerLayer>(config, training, int64_t(1)), 4);
}

/// Ranks with the same weights compute the same inside the region, unless dropout differs there.
TEST(TransformerLayers, DropoutInsideTheRegionDiffersBetweenRanks) {
  for (const double dropout : {0.0, 0.5}) {
    ModelConfig config = layer_config();
    config.attention_dropout = dropout;
    std::vector<at::Tensor> gradients(2);
    run_ranks({.tensor = 2}, [&](RankContext& ctx) {
      ParameterList list;
      // Every rank claims to be tensor rank 0, so both hold the same slice.
      const ParameterBuilder builder(list, at::kDouble, at::kCPU, 1, 0, 2);
      const SelfAttention attention(builder, config, 0, ctx.groups().tensor());
      LayerContext context;
      context.training = true;
      context.key.tensor_rank = ctx.rank();
      attention.forward(normal({13, 5, 56}, 21), context).square().sum().backward();
      for (const auto& parameter : list) {
        if (parameter.name == "self_attention.linear_proj.weight") {
          gradients[ctx.rank()] = parameter.value.grad();
        }
      }
    });
    EXPECT_EQ(at::equal(gradients[0], gradients[1]), dropout == 0) << dropout;
  }
}

TEST(TransformerLayers, SelectiveRecomputeGivesTheSameBits) {
  ModelConfig config = modern_config();
  config.hidden_dropout = config.attention_dropout = 0.3;
  LayerContext context;
  context.training = true;
  const at::Tensor x = normal({13, 5, 56}, 21);
  for (const int64_t size : {1, 2}) {
    context.recompute_attention = false;
    const LayerRun plain = run_layer(built<TransformerLayer>(config, context, int64_t(1)), size, x);
    context.recompute_attention = true;
    const LayerRun again = run_layer(built<TransformerLayer>(config, context, int64_t(1)), size, x);
    expect_equal(again.output, plain.output);
    expect_equal(again.input_gradient, plain.input_gradient);
    expect_equal_maps(again.gradients, plain.gradients);
  }
}

/// One position after another through a cache gives what the whole sequence gives.
TEST(TransformerLayers, CacheEqualsWholeSequence) {
  const ModelConfig config = modern_config();
  const at::Tensor x = normal({6, 2, 56}, 21);
  ParameterList list;
  const ParameterBuilder builder(list, at::kDouble, at::kCPU, 1, 0, 1);
  const SelfAttention attention(builder, config, 0, ProcessGroups().tensor());
  load_slices(list, random_globals(list, 0.3));
  const at::Tensor whole = attention.forward(x, {});
  std::vector<KeyValueCache> caches{
      {at::zeros({6, 2, 4, 7}, at::kDouble), at::zeros({6, 2, 4, 7}, at::kDouble)}};
  for (int64_t i = 0; i < 6; ++i) {
    LayerContext context;
    context.caches = &caches;
    context.cache_positions = at::full({1, 2}, i);
    context.visible = at::arange(6).le(i).view({1, 1, 1, 6});
    const at::AutoGradMode no_grad(false);
    expect_close(attention.forward(x.narrow(0, i, 1), context)[0], whole[i], 1e-13);
  }
}

TEST(Recompute, GradientsEqualFiniteDifferences) {
  const auto body = [](const std::vector<at::Tensor>& in) { return in[0].sin() * in[1] + in[2]; };
  const auto function = [&](const std::vector<at::Tensor>& in) { return recompute(body, in); };
  expect_gradients(function, {normal({3, 2}, 1).set_requires_grad(true), normal({3, 2}, 2),
                              normal({3, 2}, 3).set_requires_grad(true)});
}

TEST(Recompute, RunsOnceForwardAndOnceBackwardAlsoNested) {
  int outer = 0, inner = 0;
  const auto inside = [&](const std::vector<at::Tensor>& in) {
    ++inner;
    return in[0].tanh();
  };
  const auto outside = [&](const std::vector<at::Tensor>& in) {
    ++outer;
    return recompute(inside, {in[0] * 2});
  };
  const at::Tensor x = normal({4}, 1).set_requires_grad(true);
  const at::Tensor y = recompute(outside, {x});
  EXPECT_EQ(outer, 1);
  y.sum().backward();
  EXPECT_EQ(outer, 2);
  EXPECT_EQ(inner, 3);  // in the forward, when recomputed, and once more for its own backward
  expect_close(x.grad(), 2 * (1 - (x.detach() * 2).tanh().square()), 1e-14);
}

/// What the function closes over gets its gradient too: that is where weights are.
TEST(Recompute, ClosedOverWeightsGetGradients) {
  const at::Tensor weight = normal({4}, 2).set_requires_grad(true);
  const at::Tensor x = normal({4}, 1).set_requires_grad(true);
  recompute([&](const std::vector<at::Tensor>& in) { return in[0] * weight; }, {x})
      .sum()
      .backward();
  expect_equal(weight.grad(), x.detach());
  expect_equal(x.grad(), weight.detach());
}

}  // namespace
}  // namespace megalith::testing

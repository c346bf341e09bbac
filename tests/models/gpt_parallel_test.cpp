// A whole two-layer GPT: tensor x data parallel equals serial, in double, whatever the variant.
//
// Serial itself is held to PyTorch and transformers in gpt_golden_test.cpp.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "megalith/optimizer/optimizer.hpp"
#include "megalith/parallel/collectives.hpp"
#include "models/tiny_gpt.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

constexpr double kTolerance = 1e-12;
constexpr Layout kSerial{};
const Layout kParallel[] = {
    {.tensor = 2}, {.tensor = 4}, {.data = 2}, {.tensor = 2, .data = 2}, {.tensor = 4, .data = 2}};

std::string name_of(const Layout& layout) {
  return fmt::format("TP {} x DP {}: ", layout.tensor, layout.data);
}

void expect_same_step(const StepResult& actual, const StepResult& expected,
                      const std::string& context) {
  expect_close(actual.loss, expected.loss, kTolerance, context + "loss");
  expect_close(actual.token_losses, expected.token_losses, kTolerance, context + "token losses");
  expect_close_maps(actual.gradients, expected.gradients, kTolerance, context + "gradient of ");
}

TEST(GptParallel, LossAndEveryGradientEqualSerialInEveryVariant) {
  for (const auto& [name, config] : tiny_variants()) {
    const TinyBatch batch = tiny_batch(config);
    const StepResult serial = run_step(config, kSerial, batch);
    for (const Layout& layout : kParallel) {
      expect_same_step(run_step(config, layout, batch), serial, name + ", " + name_of(layout));
    }
  }
}

TEST(GptParallel, OverGlooEqualsSerial) {
  const ModelConfig config = tiny_gpt2();
  const TinyBatch batch = tiny_batch(config);
  const StepResult serial = run_step(config, kSerial, batch);
  for (const Layout& layout : {Layout{.tensor = 2, .data = 2}, Layout{.tensor = 4}}) {
    expect_same_step(run_step(config, layout, batch, {.over_gloo = true}), serial, name_of(layout));
  }
}

TEST(GptParallel, DocumentMasksEqualSerial) {
  for (const auto& [name, config] : {tiny_variants().front(), tiny_variants().back()}) {
    const TinyBatch batch = tiny_batch_of_documents(config);
    const StepResult serial = run_step(config, kSerial, batch);
    expect_same_step(run_step(config, {.tensor = 2, .data = 2}, batch), serial, name + ": ");
  }
}

TEST(GptParallel, DocumentMaskEqualsSeparateSequences) {
  const ModelConfig config = tiny_gpt2();
  const TinyBatch documents = tiny_batch_of_documents(config);
  const StepResult together = run_step(config, kSerial, documents);
  // The first document of each row alone: nothing behind it may matter.
  TinyBatch changed = documents;
  changed.tokens =
      at::where(documents.segments.eq(0), documents.tokens, (documents.tokens + 1) % 45);
  const StepResult other = run_step(config, kSerial, changed);
  const at::Tensor first = documents.segments.eq(0).t();
  expect_equal(together.token_losses.masked_select(first), other.token_losses.masked_select(first));
  // And the other way round: the second document does not see the first.
  changed.tokens =
      at::where(documents.segments.eq(1), documents.tokens, (documents.tokens + 1) % 45);
  const StepResult another = run_step(config, kSerial, changed);
  const at::Tensor second = documents.segments.eq(1).t();
  expect_close(together.token_losses.masked_select(second),
               another.token_losses.masked_select(second), 1e-13);
}

/// Dropout on replicated activations has the same masks whatever the tensor size.
TEST(GptParallel, HiddenDropoutDoesNotDependOnTensorSize) {
  ModelConfig config = tiny_gpt2();
  config.hidden_dropout = 0.3;
  const TinyBatch batch = tiny_batch(config);
  const StepResult serial = run_step(config, kSerial, batch, {.training = true});
  const StepResult without = run_step(config, kSerial, batch);
  EXPECT_GT(std::abs((serial.loss - without.loss).item<double>()), 1e-3);
  for (const Layout& layout : {Layout{.tensor = 2}, Layout{.tensor = 4}}) {
    expect_same_step(run_step(config, layout, batch, {.training = true}), serial, name_of(layout));
  }
}

TensorMap random_globals_of(const ModelConfig& config) {
  return random_globals(GptModel(config, ProcessGroups(), at::kDouble, at::kCPU, 1).parameters(),
                        0.3);
}

struct Trained {
  TensorMap weights;
  std::vector<double> gradient_norms;
};

Trained train_three_steps(const ModelConfig& config, const Layout& layout, OptimizerKind kind) {
  GlobalTensors weights;
  Trained trained;
  const TensorMap globals =
      random_globals(GptModel(config, ProcessGroups(), at::kDouble, at::kCPU, 1).parameters(), 0.3);
  run_ranks(layout, [&](RankContext& ctx) {
    const auto& groups = ctx.groups();
    GptModel model(config, groups, at::kDouble, at::kCPU, 1);
    load_slices(model.parameters(), globals);
    GradientBuffer gradients(model.parameters(), groups.data(), groups.tensor(), 1000);
    const OptimizerConfig adam{.kind = kind, .clip_grad = 0.5};
    Optimizer optimizer(model.parameters(), gradients, adam, groups.model(),
                        groups.coordinates().tensor == 0);
    for (int64_t step = 0; step < 3; ++step) {
      TinyBatch batch = tiny_batch(config);
      batch.tokens = (batch.tokens + step) % config.vocab_size;
      const double total = batch.loss_mask.sum().item<double>();
      const TinyBatch mine = share_of(batch, groups.data());
      LayerContext context;
      gradients.zero();
      gradients.reduce_during_next_backward();
      const at::Tensor losses =
          model.token_losses({mine.tokens, mine.position_ids, {}}, mine.labels, context);
      ((losses * mine.loss_mask.t()).sum() / total).backward();
      gradients.finish_reduction();
      const auto result = optimizer.step(0.01, 0.1, 1.0);
      EXPECT_TRUE(result.updated);
      if (ctx.rank() == 0) trained.gradient_norms.push_back(result.gradient_norm);
    }
    weights.add_values(model.parameters());
  });
  trained.weights = weights.take();
  return trained;
}

TEST(GptParallel, GradientNormAndWeightsAfterThreeUpdatesEqualSerial) {
  for (const auto kind : {OptimizerKind::kAdam, OptimizerKind::kSgd}) {
    for (const auto& config : {tiny_variants().front().second, tiny_variants().back().second}) {
      const Trained serial = train_three_steps(config, kSerial, kind);
      for (const Layout& layout : kParallel) {
        const Trained parallel = train_three_steps(config, layout, kind);
        // A key bias has gradient 0 up to rounding, of which Adam makes steps: 1e-10, not 1e-12.
        expect_close_maps(parallel.weights, serial.weights, 1e-10, name_of(layout));
        for (size_t step = 0; step < 3; ++step) {
          EXPECT_NEAR(parallel.gradient_norms[step], serial.gradient_norms[step], 1e-10)
              << name_of(layout) << "step " << step;
        }
      }
    }
  }
}

/// The norm is that of all gradients of the global tensors, each counted once.
TEST(GptParallel, GradientNormIsThatOfTheGlobalGradients) {
  const ModelConfig config = tiny_gpt2();
  const StepResult serial = run_step(config, kSerial, tiny_batch(config));
  double sum = 0;
  for (const auto& [name, gradient] : serial.gradients)
    sum += gradient.square().sum().item<double>();
  const auto trained = train_three_steps(config, {.tensor = 2, .data = 2}, OptimizerKind::kAdam);
  EXPECT_NEAR(trained.gradient_norms[0], std::sqrt(sum), 1e-10);
}

/// Buckets start while backward runs; recompute runs parts of backward inside it. Two micro-batches
/// are added before the sum over data ranks.
TEST(GptParallel, OverlappedReductionSumsEveryGradientOnce) {
  const ModelConfig config = tiny_gpt2();
  const TinyBatch batch = tiny_batch(config);
  const double total = batch.loss_mask.sum().item<double>();
  const StepResult serial = run_step(config, kSerial, batch);
  using Kind = RecomputePlan::Kind;
  for (const Kind kind : {Kind::kNone, Kind::kSelective, Kind::kUniform}) {
    for (const int64_t bucket_elements : {1, 700, 1 << 20}) {
      GlobalTensors gradients;
      run_ranks({.tensor = 2, .data = 2}, [&](RankContext& ctx) {
        const auto& groups = ctx.groups();
        GptModel model(config, groups, at::kDouble, at::kCPU, 1);
        load_slices(model.parameters(), random_globals_of(config));
        GradientBuffer buffer(model.parameters(), groups.data(), groups.tensor(), bucket_elements);
        const TinyBatch mine = share_of(batch, groups.data());
        for (int64_t row = 0; row < 2; ++row) {  // a micro-batch is one of this rank's two rows
          const auto one = [row](const at::Tensor& x) { return x.narrow(0, row, 1); };
          if (row == 1) buffer.reduce_during_next_backward();
          LayerContext context;
          const at::Tensor losses = model.token_losses(
              {one(mine.tokens), one(mine.position_ids), {}}, one(mine.labels), context, {kind, 1});
          ((losses * one(mine.loss_mask).t()).sum() / total).backward();
        }
        buffer.finish_reduction();
        for (size_t i = 0; i < model.parameters().size(); ++i) {
          gradients.add(model.parameters()[i], buffer.gradient(i));
        }
        const auto& sent = groups.traffic()->entries.at("all_reduce data");
        EXPECT_EQ(sent.calls, static_cast<int64_t>(buffer.num_buckets()));
      });
      expect_close_maps(gradients.take(), serial.gradients, kTolerance,
                        fmt::format("plan {}, buckets of {}: ", int(kind), bucket_elements));
    }
  }
}

TEST(GptParallel, VocabularyPaddingChangesNothing) {
  for (const bool untied : {false, true}) {
    ModelConfig config = tiny_gpt2();
    config.untie_embeddings_and_output_weights = untied;
    config.make_vocab_size_divisible_by = 1;
    const TinyBatch batch = tiny_batch(config);
    const StepResult unpadded = run_step(config, kSerial, batch);
    // 64 x 2 rows for 45 ids: the second rank holds padding alone.
    for (const int64_t divisor : {8, 46, 64}) {
      config.make_vocab_size_divisible_by = divisor;
      for (const int64_t tensor : {1, 2, 4}) {
        expect_same_step(run_step(config, {.tensor = tensor}, batch), unpadded,
                         fmt::format("padded to {}: ", config.padded_vocab_size(tensor)));
      }
    }
  }
}

TEST(GptParallel, PaddingRowsAreZeroAndGetNoGradient) {
  ModelConfig config = tiny_gpt2();
  config.make_vocab_size_divisible_by = 32;
  const TinyBatch batch = tiny_batch(config);
  run_ranks({.tensor = 2}, [&](RankContext& ctx) {
    GptModel model(config, ctx.groups(), at::kDouble, at::kCPU, 1);
    LayerContext context;
    model.token_losses({batch.tokens, batch.position_ids, {}}, batch.labels, context)
        .sum()
        .backward();
    const auto& embedding = model.parameters().front();
    EXPECT_EQ(embedding.name, "embedding.word_embeddings.weight");
    const int64_t valid = ctx.rank() == 0 ? 32 : 13;
    for (const at::Tensor& x : {embedding.value.detach(), embedding.value.grad()}) {
      EXPECT_EQ(x.size(0), 32);
      EXPECT_GT(x.narrow(0, 0, valid).abs().sum().item<double>(), 0);
      EXPECT_EQ(x.narrow(0, valid, 32 - valid).abs().sum().item<double>(), 0);
    }
  });
}

}  // namespace
}  // namespace megalith::testing

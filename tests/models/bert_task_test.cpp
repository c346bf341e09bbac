// BERT with the head of a task gives the numbers of transformers' models: logits, loss, every
// gradient, on one rank and split over two; and every layout gives what one rank gives.
//
// bert_tasks_tiny: tests/oracles/bert_task_reference.py.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "megalith/models/bert.hpp"
#include "megalith/parallel/collectives.hpp"
#include "models/bert_names.hpp"
#include "models/tiny_bert.hpp"
#include "support/numeric.hpp"
#include "support/ranks.hpp"

namespace megalith::testing {
namespace {

const char* const kTasks[] = {"classes", "choices", "spans"};

ModelConfig task_bert(const std::string& task) {
  ModelConfig config = original_bert(/*hidden_size=*/8, /*num_heads=*/2, /*num_positions=*/14,
                                     /*vocab_size=*/40, /*with_binary_head=*/false);
  config.lm_head_transform = false;
  if (task == "classes") config.num_classes = 3;
  config.multichoice_head = task == "choices";
  config.qa_head = task == "spans";
  return config;
}

/// The tensors whose names begin with `start`, without it.
TensorMap part_of(const TensorMap& all, const std::string& start) {
  TensorMap part;
  for (const auto& [name, tensor] : all) {
    if (name.starts_with(start)) part[name.substr(start.size())] = tensor;
  }
  return part;
}

struct TaskReference {
  TensorMap golden;  // of the task
  TensorMap weights;
  ModelInput input;
  Targets targets;

  explicit TaskReference(const std::string& task) {
    const TensorMap all = read_golden_tensors("bert_tasks_tiny.safetensors");
    golden = part_of(all, task + ".");
    TensorMap theirs = golden;
    for (const auto& [name, tensor] : all) {
      if (name.starts_with("bert.")) theirs[name] = tensor;
    }
    weights = with_our_names(theirs, kOriginalBertLayers);
    input.tokens = golden.at("input_ids");
    input.position_ids = at::arange(input.tokens.size(1)).expand_as(input.tokens);
    input.token_types = golden.at("token_type_ids");
    input.padding_mask = golden.at("attention_mask").to(at::kBool);
    targets.labels = golden.at("labels");
  }
};

/// What the model has no parameter for is left out: both names of a classifier, an unused pooler.
TensorMap wanted_of(const TensorMap& all, const ParameterList& parameters) {
  TensorMap wanted;
  for (const auto& parameter : parameters) {
    for (const auto& box : parameter.shard.boxes) wanted[box.name] = all.at(box.name);
  }
  return wanted;
}

void check_task(const std::string& task, int64_t tensor_size, at::ScalarType dtype,
                double tolerance) {
  SCOPED_TRACE(fmt::format("{} TP {} {}", task, tensor_size, c10::toString(dtype)));
  const TaskReference reference(task);
  const ModelConfig config = task_bert(task);
  GlobalTensors gradients;
  TensorMap expected;
  run_ranks({.tensor = tensor_size}, [&](RankContext& ctx) {
    BertModel model(config, ctx.groups(), dtype, at::kCPU, 1);
    load_slices(model.parameters(), wanted_of(reference.weights, model.parameters()));
    LayerContext context;
    at::Tensor logits = model.task_logits(reference.input, context);
    if (task == "choices") logits = logits.view({reference.targets.labels.size(0), -1});
    expect_close(logits, reference.golden.at("logits"), tolerance, "logits");
    ASSERT_EQ(model.loss_names(), std::vector<std::string>{"loss"});
    const auto parts = model.losses(reference.input, reference.targets, context, {});
    const at::Tensor loss = parts.at(0).sum / parts.at(0).count;
    expect_close(loss.view({1}), reference.golden.at("loss"), tolerance, "loss");
    loss.backward();
    gradients.add_gradients(model.parameters());
    if (ctx.rank() == 0) {
      expected = wanted_of(with_our_names(reference.golden, kOriginalBertLayers, "grad."),
                           model.parameters());
    }
  });
  expect_close_maps(gradients.take(), expected, tolerance, "gradient of ");
}

TEST(BertTask, EqualsTransformers) {
  for (const char* task : kTasks) {
    for (const int64_t tensor : {1, 2}) {
      check_task(task, tensor, at::kFloat, 1e-5);
      check_task(task, tensor, at::kDouble, 2e-7);  // stored as float
    }
  }
}

/// The step of a trainer on a share of four examples, from random weights, in double.
struct TaskStep {
  at::Tensor loss;
  TensorMap gradients;
};

TaskStep run_task_step(const ModelConfig& config, const at::Tensor& labels, const Layout& layout) {
  const TinyBertBatch batch = tiny_bert_batch();
  const TensorMap globals = random_globals(
      BertModel(config, ProcessGroups(), at::kDouble, at::kCPU, 1).parameters(), 0.5);
  TaskStep step;
  GlobalTensors gradients;
  run_ranks(layout, [&](RankContext& ctx) {
    const Group& data = ctx.groups().data();
    BertModel model(config, ctx.groups(), at::kDouble, at::kCPU, 1);
    load_slices(model.parameters(), globals);
    const TinyBertBatch mine = share_of(batch, data);
    Targets targets;
    const int64_t share = labels.size(0) / data.size();
    targets.labels = labels.narrow(0, data.rank * share, share);
    LayerContext context;
    at::Tensor loss =
        model.losses(mine.input, targets, context, {}).at(0).sum / double(labels.size(0));
    loss.backward();
    for (auto& parameter : model.parameters()) {
      at::Tensor& gradient = parameter.value.mutable_grad();
      if (!gradient.defined()) gradient = at::zeros_like(parameter.value);
      gradient = gradient.contiguous();
      all_reduce(gradient, data);
    }
    gradients.add_gradients(model.parameters());
    loss = loss.detach().clone();
    all_reduce(loss, data);
    if (ctx.rank() == 0) step.loss = loss;
  });
  step.gradients = gradients.take();
  return step;
}

TEST(BertTask, EveryLayoutGivesTheSameLossAndGradients) {
  for (const std::string task : kTasks) {
    ModelConfig config = tiny_bert();
    config.binary_head = config.lm_head_transform = false;
    config.num_classes = task == "classes" ? 3 : 0;
    config.multichoice_head = task == "choices";
    config.qa_head = task == "spans";
    const at::Tensor labels = task == "classes"   ? at::tensor({2, 0, 1, 1}, at::kLong)
                              : task == "choices" ? at::tensor({1, 0}, at::kLong)
                                                  : integers({4, 2}, 4, 3);
    const TaskStep serial = run_task_step(config, labels, {});
    for (const Layout& layout : {Layout{.tensor = 2}, Layout{.tensor = 4}, Layout{.data = 2},
                                 Layout{.tensor = 2, .data = 2}, Layout{.tensor = 4, .data = 2}}) {
      SCOPED_TRACE(fmt::format("{} TP {} x DP {}", task, layout.tensor, layout.data));
      const TaskStep actual = run_task_step(config, labels, layout);
      expect_close(actual.loss, serial.loss, 1e-12, "loss");
      expect_close_maps(actual.gradients, serial.gradients, 1e-12, "gradient of ");
    }
  }
}

TEST(BertTask, DropoutIsInFrontOfTheHeadAndTheSameOnEveryTensorRank) {
  for (const char* task : kTasks) {
    SCOPED_TRACE(task);
    const TaskReference reference(task);
    ModelConfig config = task_bert(task);
    config.hidden_dropout = 0.5;
    const auto logits_of = [&](bool training, int64_t micro_batch) {
      at::Tensor logits;
      run_ranks({.tensor = 2}, [&](RankContext& ctx) {
        BertModel model(config, ctx.groups(), at::kDouble, at::kCPU, 1);
        load_slices(model.parameters(), wanted_of(reference.weights, model.parameters()));
        LayerContext context;
        context.training = training;
        context.key = {.seed = 5, .micro_batch = micro_batch, .tensor_rank = ctx.rank()};
        const at::Tensor mine = model.task_logits(reference.input, context).detach().contiguous();
        at::Tensor first = mine.clone();
        broadcast(first, ctx.groups().tensor(), 0);
        EXPECT_TRUE(at::equal(mine, first)) << "tensor ranks drop different features";
        if (ctx.rank() == 0) logits = mine;
      });
      return logits;
    };
    EXPECT_TRUE(at::equal(logits_of(true, 0), logits_of(true, 0)));
    EXPECT_FALSE(at::equal(logits_of(true, 0), logits_of(true, 1)));
    EXPECT_FALSE(at::equal(logits_of(true, 0), logits_of(false, 0)));
  }
}

TEST(BertTask, CountsItsParameters) {
  for (const char* task : kTasks) {
    const ModelConfig config = task_bert(task);
    BertModel model(config, ProcessGroups(), at::kFloat, at::kCPU, 1);
    int64_t count = 0;
    for (const auto& parameter : model.parameters()) count += parameter.value.numel();
    EXPECT_EQ(config.num_parameters(config.padded_vocab_size(1)), count) << task;
  }
}

}  // namespace
}  // namespace megalith::testing

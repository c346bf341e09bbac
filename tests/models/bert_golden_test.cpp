// The original BERT with its norms shifted by one place gives the numbers of transformers'
// BertForPreTraining: hidden states, pooled output, both heads' logits, losses, every gradient.
//
// bert_tiny: tests/oracles/bert_reference.py.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "megalith/models/bert.hpp"
#include "models/bert_names.hpp"
#include "support/global_tensors.hpp"
#include "support/numeric.hpp"
#include "support/ranks.hpp"

namespace megalith::testing {
namespace {

ModelConfig reference_bert() {
  return original_bert(/*hidden_size=*/16, /*num_heads=*/4, /*num_positions=*/20,
                       /*vocab_size=*/99, /*with_binary_head=*/true);
}

struct Reference {
  TensorMap golden;
  ModelInput input;
  Targets targets;

  Reference() : golden(read_golden_tensors("bert_tiny.safetensors")) {
    input.tokens = golden.at("input_ids");
    input.position_ids = at::arange(input.tokens.size(1)).expand_as(input.tokens);
    input.token_types = golden.at("token_type_ids");
    input.padding_mask = golden.at("attention_mask").to(at::kBool);
    targets.labels = golden.at("labels");
    targets.loss_mask = targets.labels.ge(0).t().to(at::kFloat).contiguous();
    targets.predicted = targets.loss_mask.reshape({-1}).nonzero().squeeze(-1);
    targets.is_random = golden.at("next_sentence_label");
  }
};

void check_outputs(const BertModel& model, const Reference& reference, const std::string& prefix,
                   const Group& tensor, double tolerance) {
  const at::NoGradGuard no_grad;
  const auto expected = [&](const char* name) { return reference.golden.at(prefix + name); };
  LayerContext context;
  const at::Tensor hidden = model.hidden_states(reference.input, context);
  expect_close(hidden.transpose(0, 1), expected("hidden"), tolerance, "hidden states");
  const at::Tensor logits = gather_logits(model.logits(hidden), model.config().vocab_size, tensor);
  expect_close(logits.transpose(0, 1), expected("prediction_logits"), tolerance, "logits");
  const at::Tensor pooled = model.pooled(hidden);
  expect_close(pooled, expected("pooled"), tolerance, "pooled");
  expect_close(model.order_logits(pooled), expected("order_logits"), tolerance, "order logits");
}

/// -> the loss that is trained on
at::Tensor check_losses(const BertModel& model, const Reference& reference,
                        const std::string& prefix, double tolerance) {
  LayerContext context;
  const auto parts = model.losses(reference.input, reference.targets, context, {});
  const at::Tensor masked = parts[0].sum / parts[0].count, order = parts[1].sum / parts[1].count;
  const auto check = [&](const at::Tensor& loss, const char* name) {
    expect_close(loss.view({1}), reference.golden.at(prefix + name), tolerance, name);
  };
  check(masked, "masked_loss");
  check(order, "order_loss");
  check(masked + order, "loss");
  return masked + order;
}

void check_bert(bool tanh_gelu, int64_t tensor_size, at::ScalarType dtype, double tolerance) {
  const std::string prefix = tanh_gelu ? "tanh." : "";
  SCOPED_TRACE(fmt::format("{}TP {} {}", prefix, tensor_size, c10::toString(dtype)));
  const Reference reference;
  ModelConfig config = reference_bert();
  config.openai_gelu = tanh_gelu;
  GlobalTensors gradients;
  run_ranks({.tensor = tensor_size}, [&](RankContext& ctx) {
    BertModel model(config, ctx.groups(), dtype, at::kCPU, 1);
    load_slices(model.parameters(), with_our_names(reference.golden, kOriginalBertLayers));
    check_outputs(model, reference, prefix, ctx.groups().tensor(), tolerance);
    check_losses(model, reference, prefix, tolerance).backward();
    gradients.add_gradients(model.parameters());
  });
  if (tanh_gelu) return;  // the file has no gradients of it
  const TensorMap expected = with_our_names(reference.golden, kOriginalBertLayers, "grad."),
                  actual = gradients.take();
  expect_close_maps(actual, expected, tolerance, "gradient of ");
  for (const auto& [name, gradient] : expected) {
    // Exactly zero in theory: softmax ignores what is added to every key.
    if (name.ends_with("key.bias")) continue;
    expect_close_relative(actual.at(name), gradient, 5 * tolerance, "relative gradient of " + name);
  }
}

TEST(BertGolden, EqualsTransformers) {
  for (const int64_t tensor : {1, 2, 4}) {
    check_bert(false, tensor, at::kFloat, 1e-5);
    check_bert(false, tensor, at::kDouble, 2e-7);  // stored as float
    check_bert(true, tensor, at::kFloat, 1e-5);
  }
}

}  // namespace
}  // namespace megalith::testing

// The same weights give the same numbers as transformers and PyTorch: logits, losses, gradients,
// activations.
//
// gpt2_tiny and llama_tiny: tests/oracles/gpt2_reference.py. gpt-nano: a trained minGPT model with
// activations stored by PyTorch (tests/golden/gpt-nano).
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "megalith/models/gpt.hpp"
#include "support/global_tensors.hpp"
#include "support/numeric.hpp"
#include "support/ranks.hpp"

namespace megalith::testing {
namespace {

ModelConfig reference_gpt2() {
  ModelConfig config;
  config.num_layers = 2;
  config.hidden_size = 32;
  config.num_attention_heads = 4;
  config.max_position_embeddings = 16;
  config.openai_gelu = true;
  config.hidden_dropout = config.attention_dropout = 0;
  config.vocab_size = 96;
  return config;
}

ModelConfig reference_llama() {
  ModelConfig config = reference_gpt2();
  config.openai_gelu = false;
  config.normalization = Normalization::kRmsNorm;
  config.position_embedding = PositionEmbedding::kRope;
  config.swiglu = config.disable_bias_linear = config.untie_embeddings_and_output_weights = true;
  config.group_query_attention = true;
  config.num_query_groups_flag = 2;
  config.ffn_hidden_size_flag = 48;
  return config;
}

/// Forward and backward of the golden file's batch; compares what its names with `prefix` say.
void check_against(const TensorMap& golden, const ModelConfig& config, const std::string& prefix,
                   int64_t tensor_size, at::ScalarType dtype, double tolerance) {
  SCOPED_TRACE(fmt::format("{}TP {} {}", prefix, tensor_size, c10::toString(dtype)));
  GlobalTensors gradients;
  run_ranks({.tensor = tensor_size}, [&](RankContext& ctx) {
    GptModel model(config, ctx.groups(), dtype, at::kCPU, 1);
    load_slices(model.parameters(), golden);
    const at::Tensor tokens = golden.at("input_ids");
    const at::Tensor positions = at::arange(tokens.size(1)).expand_as(tokens);
    LayerContext context;
    const ModelInput input{tokens, positions, {}};
    {
      const at::NoGradGuard no_grad;
      const at::Tensor logits = gather_logits(model.logits(model.hidden_states(input, context)),
                                              config.vocab_size, ctx.groups().tensor());
      expect_close(logits.transpose(0, 1), golden.at(prefix + "logits"), tolerance, "logits");
    }
    const at::Tensor losses = model.token_losses(input, golden.at("labels"), context);
    expect_close(losses.t(), golden.at(prefix + "token_losses"), tolerance, "token losses");
    const at::Tensor loss = losses.mean();
    expect_close(loss.view({1}), golden.at(prefix + "loss"), tolerance, "loss");
    loss.backward();
    gradients.add_gradients(model.parameters());
  });
  TensorMap expected;
  for (const auto& [name, tensor] : golden) {
    const std::string start = prefix + "grad.";
    if (name.starts_with(start)) expected[name.substr(start.size())] = tensor;
  }
  const TensorMap actual = gradients.take();
  expect_close_maps(actual, expected, tolerance, "gradient of ");
  for (const auto& [name, tensor] : expected) {
    // Exactly zero in theory: softmax ignores what is added to every key.
    if (name.ends_with("key.bias")) continue;
    expect_close_relative(actual.at(name), tensor, 5 * tolerance, "relative gradient of " + name);
  }
}

TEST(GptGolden, Gpt2EqualsTransformers) {
  const TensorMap golden = read_golden_tensors("gpt2_tiny.safetensors");
  ModelConfig config = reference_gpt2();
  for (const int64_t tensor : {1, 2, 4}) {
    config.openai_gelu = true;
    check_against(golden, config, "", tensor, at::kFloat, 1e-5);
    check_against(golden, config, "", tensor, at::kDouble, 2e-7);  // stored as float
    config.openai_gelu = false;
    check_against(golden, config, "erf.", tensor, at::kFloat, 1e-5);
  }
}

TEST(GptGolden, LlamaLikeEqualsTransformers) {
  const TensorMap golden = read_golden_tensors("llama_tiny.safetensors");
  for (const int64_t tensor : {1, 2}) {
    check_against(golden, reference_llama(), "", tensor, at::kFloat, 1e-5);
  }
}

/// minGPT's names, with the fused query, key and value cut apart.
TensorMap nano_weights() {
  const auto file = read_golden_json("gpt-nano/gpt-nano-sort-model.json");
  const auto at = [&](const std::string& name) { return base64_tensor(file.at(name)); };
  TensorMap weights{{"embedding.word_embeddings.weight", at("transformer.wte.weight")},
                    {"embedding.position_embeddings.weight", at("transformer.wpe.weight")},
                    {"output_layer.weight", at("lm_head.weight")}};
  for (const char* kind : {".weight", ".bias"}) {
    weights[std::string("decoder.final_layernorm") + kind] =
        at(std::string("transformer.ln_f") + kind);
    for (int64_t layer = 0; layer < 3; ++layer) {
      const auto ours = fmt::format("decoder.layers.{}.", layer);
      const auto theirs = fmt::format("transformer.h.{}.", layer);
      const auto qkv = at(theirs + "attn.c_attn" + kind).chunk(3, 0);
      weights[ours + "self_attention.query" + kind] = qkv[0];
      weights[ours + "self_attention.key" + kind] = qkv[1];
      weights[ours + "self_attention.value" + kind] = qkv[2];
      weights[ours + "input_layernorm" + kind] = at(theirs + "ln_1" + kind);
      weights[ours + "self_attention.linear_proj" + kind] = at(theirs + "attn.c_proj" + kind);
      weights[ours + "pre_mlp_layernorm" + kind] = at(theirs + "ln_2" + kind);
      weights[ours + "mlp.linear_fc1" + kind] = at(theirs + "mlp.c_fc" + kind);
      weights[ours + "mlp.linear_fc2" + kind] = at(theirs + "mlp.c_proj" + kind);
    }
  }
  return weights;
}

ModelConfig nano_config(int64_t num_layers) {
  ModelConfig config;
  config.num_layers = num_layers;
  config.hidden_size = 48;
  config.num_attention_heads = 3;
  config.max_position_embeddings = 11;
  config.openai_gelu = true;
  config.untie_embeddings_and_output_weights = true;
  config.vocab_size = 3;
  config.make_vocab_size_divisible_by = 1;
  return config;
}

/// final norm(block output) for the model cut after each block, then logits and probabilities.
TEST(GptGolden, GptNanoEqualsStoredActivations) {
  const TensorMap weights = nano_weights();
  const auto stored = read_golden_json("gpt-nano/gpt-nano-sort-t0-partials.json");
  const at::Tensor tokens = base64_tensor(stored.at("idx")).to(at::kLong);
  const at::Tensor positions = at::arange(11).expand_as(tokens);
  const at::NoGradGuard no_grad;
  for (const int64_t tensor : {1, 3}) {
    for (const int64_t blocks : {1, 2, 3}) {
      run_ranks({.tensor = tensor}, [&](RankContext& ctx) {
        const at::NoGradGuard rank_no_grad;
        GptModel model(nano_config(blocks), ctx.groups(), at::kFloat, at::kCPU, 1);
        load_slices(model.parameters(), weights);
        LayerContext context;
        const at::Tensor hidden = model.hidden_states({tokens, positions, {}}, context);
        const at::Tensor block = base64_tensor(stored.at(fmt::format("block{}", blocks - 1)));
        const at::Tensor expected =
            at::layer_norm(block.to(at::kDouble), {48},
                           weights.at("decoder.final_layernorm.weight").to(at::kDouble),
                           weights.at("decoder.final_layernorm.bias").to(at::kDouble));
        expect_close(hidden.transpose(0, 1), expected, 1e-5, fmt::format("block {}", blocks - 1));
        if (blocks < 3) return;
        expect_close(hidden.transpose(0, 1), base64_tensor(stored.at("ln_f")), 1e-5, "ln_f");
        const at::Tensor logits =
            gather_logits(model.logits(hidden), 3, ctx.groups().tensor()).transpose(0, 1);
        expect_close(logits, base64_tensor(stored.at("lm_head")), 1e-5, "logits");
        expect_close(logits.softmax(-1), base64_tensor(stored.at("probs")), 1e-5, "probabilities");
      });
    }
  }
}

}  // namespace
}  // namespace megalith::testing

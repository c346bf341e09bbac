// Upstream's BERT checkpoints as models of ours: every weight to the last bit, and the outputs that
// transformers computes. Files: tests/oracles/upstream_bert.py.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "megalith/checkpoint/manifest.hpp"
#include "megalith/checkpoint/model_io.hpp"
#include "megalith/checkpoint/upstream_checkpoint.hpp"
#include "megalith/checkpoint/upstream_folder.hpp"
#include "megalith/checkpoint/write_model.hpp"
#include "megalith/models/bert.hpp"
#include "support/golden.hpp"
#include "support/numeric.hpp"
#include "support/temporary_folder.hpp"

namespace megalith::testing {
namespace {

ModelSource upstream_bert(const std::string& layout) {
  const auto folder = golden_path("upstream-checkpoints/" + layout).string();
  return read_upstream_checkpoint(*find_upstream_checkpoint(folder, std::nullopt), {});
}

void expect_bert(const std::string& layout, at::ScalarType dtype, double tolerance) {
  SCOPED_TRACE(layout);
  const TemporaryFolder folder;
  const ModelSource source = upstream_bert(layout);
  const auto checkpoint = Checkpoint::open(write_model(source, folder.path("save")));
  const TensorMap golden = read_golden_tensors("upstream-checkpoints/bert.safetensors");
  const auto names = checkpoint.names("model");
  EXPECT_EQ(names.size() + 7, golden.size());
  for (const auto& name : names) {
    expect_equal(checkpoint.read_global(name), golden.at(name).to(dtype), name);
  }

  const ModelConfig config = model_config_from(checkpoint);
  EXPECT_TRUE(config.residual_post_layernorm);
  EXPECT_EQ(config.head_names(), (std::vector<std::string>{"lm_head", "pooler", "binary_head"}));
  BertModel model(config, ProcessGroups(), at::kFloat, at::kCPU, std::nullopt);
  load_weights(checkpoint, model);
  const at::NoGradGuard no_grad;
  const at::Tensor ids = golden.at("input_ids"), mask = golden.at("attention_mask");
  LayerContext context;
  const at::Tensor hidden =
      model.hidden_states({.tokens = ids,
                           .position_ids = at::arange(ids.size(1)).expand_as(ids),
                           .segments = {},
                           .token_types = golden.at("token_type_ids"),
                           .padding_mask = mask.to(at::kBool)},
                          context);
  const at::Tensor seen = mask.unsqueeze(-1), pooled = model.pooled(hidden);
  const auto compare = [&](const at::Tensor& ours, const char* name) {
    expect_close(ours, golden.at(name), tolerance, name);
  };
  expect_close(hidden.transpose(0, 1) * seen, golden.at("hidden") * seen, tolerance, "hidden");
  expect_close(model.logits(hidden).narrow(-1, 0, config.vocab_size).transpose(0, 1) * seen,
               golden.at("lm_logits") * seen, tolerance, "lm_logits");
  compare(pooled, "pooled");
  compare(model.order_logits(pooled), "order_logits");
}

TEST(UpstreamBert, GivesEveryWeightAndTheOutputs) {
  expect_bert("bert-v1-stream", at::kFloat, 1e-5);
  expect_bert("bert-core", at::kFloat, 1e-5);
  expect_bert("bert-legacy-fp16", at::kHalf, 0.02);  // weights were rounded
}

}  // namespace
}  // namespace megalith::testing

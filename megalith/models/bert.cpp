#include "megalith/models/bert.hpp"

#include <ATen/ATen.h>

#include "megalith/ops/elementwise.hpp"

namespace megalith {

LanguageModelHead::LanguageModelHead(const ParameterBuilder& parameters, const ModelConfig& config,
                                     const at::Tensor& word_embeddings, const Group& tensor)
    : tensor_(tensor),
      openai_gelu_(config.openai_gelu),
      dense_(parameters, "dense", config.hidden_size, config.hidden_size,
             Init::normal(config.init_method_std)),
      norm_(parameters, "layernorm", config.hidden_size, config),
      word_embeddings_(word_embeddings),
      bias_(parameters.vocabulary("bias", config.vocab_size,
                                  config.padded_vocab_size(tensor.size()), -1, Init::zeros())) {}

at::Tensor LanguageModelHead::forward(const at::Tensor& hidden) const {
  const at::Tensor transformed =
      norm_.forward(ops::gelu(dense_.forward(hidden), openai_gelu_));           // [..., H]
  return vocab_parallel_logits(transformed, word_embeddings_, bias_, tensor_);  // [..., V/t]
}

BertModel::BertModel(const ModelConfig& config, const ProcessGroups& groups, at::ScalarType dtype,
                     at::Device device, std::optional<int64_t> seed)
    : Model(config, groups, dtype, device),
      encoder_(builder(seed), "encoder", config, tensor()),
      vocab_range_(
          vocab_range(config.vocab_size, config.padded_vocab_size(tensor().size()), tensor())) {
  TORCH_CHECK(config.bidirectional && !config.untie_embeddings_and_output_weights,
              "BertModel: the configuration is not a BERT's; see ModelConfig::become_bert");
  if (config.lm_head_transform) {
    lm_head_.emplace(builder(seed).scope("lm_head"), config, encoder_.word_embeddings(), tensor());
  }
  const auto add = [&](bool has, std::optional<ReplicatedLinear>& layer, const char* name,
                       int64_t outputs) {
    if (!has) return;
    layer.emplace(builder(seed), name, config.hidden_size, outputs,
                  Init::normal(config.init_method_std));
  };
  add(config.has_pooler(), pooler_, "pooler.dense", config.hidden_size);
  add(config.binary_head, binary_head_, "binary_head", 2);
  add(config.num_classes > 0, classification_head_, "classification_head", config.num_classes);
  add(config.multichoice_head, multichoice_head_, "multichoice_head", 1);
  add(config.qa_head, qa_head_, "qa_head", 2);
}

at::Tensor BertModel::hidden_states(const ModelInput& input, LayerContext& context,
                                    const RecomputePlan& plan) const {
  return encoder_.forward(input, context, plan);
}

at::Tensor BertModel::logits(const at::Tensor& hidden) const {
  return lm_head_.value().forward(hidden);
}

at::Tensor BertModel::pooled(const at::Tensor& hidden) const {
  return pooler_.value().forward(hidden.select(0, 0)).tanh();
}

at::Tensor BertModel::order_logits(const at::Tensor& pooled) const {
  return binary_head_.value().forward(pooled);
}

at::Tensor BertModel::class_logits(const at::Tensor& pooled) const {
  return classification_head_.value().forward(pooled);
}

at::Tensor BertModel::choice_logits(const at::Tensor& pooled) const {
  return multichoice_head_.value().forward(pooled);
}

at::Tensor BertModel::span_logits(const at::Tensor& hidden) const {
  return qa_head_.value().forward(hidden);
}

std::vector<std::string> BertModel::loss_names() const {
  if (config().has_task_head()) return {"loss"};
  return config().binary_head ? std::vector<std::string>{"lm loss", "sop loss"}
                              : std::vector<std::string>{"lm loss"};
}

std::vector<LossPart> BertModel::losses(const ModelInput& input, const Targets& targets,
                                        LayerContext& context, const RecomputePlan& plan) const {
  if (config().has_task_head()) {
    return {task_loss(task_logits(input, context, plan), targets.labels)};
  }
  TORCH_CHECK(lm_head_, "BertModel: no language-model head to be pretrained");
  const at::Tensor hidden = hidden_states(input, context, plan);  // [S, B, H]
  std::vector<LossPart> parts{masked_token_loss(hidden, targets)};
  if (config().binary_head) parts.push_back(order_loss(hidden, targets));
  return parts;
}

LossPart BertModel::masked_token_loss(const at::Tensor& hidden, const Targets& targets) const {
  at::Tensor rows = hidden.flatten(0, 1);                // [S·B, H]
  at::Tensor labels = targets.labels.t().reshape({-1});  // [S·B]
  at::Tensor mask = targets.loss_mask.reshape({-1});
  if (targets.predicted.defined()) {
    rows = rows.index_select(0, targets.predicted);  // [N, H]
    labels = labels.index_select(0, targets.predicted);
    mask = mask.index_select(0, targets.predicted);
  }
  const at::Tensor losses =
      vocab_parallel_cross_entropy(logits(rows), labels, vocab_range_, tensor());
  return {(losses * mask).sum(), mask.sum()};
}

LossPart BertModel::order_loss(const at::Tensor& hidden, const Targets& targets) const {
  TORCH_CHECK(targets.is_random.defined(), "BertModel: the batch does not say which are swapped");
  const at::Tensor logits = order_logits(pooled(hidden));  // [B, 2]
  const auto exact = logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor sum =
      at::cross_entropy_loss(logits.to(exact), targets.is_random, {}, at::Reduction::Sum);
  return {sum, at::full_like(sum.detach(), static_cast<double>(targets.is_random.numel()))};
}

double BertModel::flops(int64_t samples, int64_t seq_length, double predictions) const {
  if (config().has_task_head()) return task_flops(samples, seq_length);
  const double sequences = static_cast<double>(samples);
  const double h = static_cast<double>(config().hidden_size);
  double all = sequences * static_cast<double>(seq_length) * layer_flops(config(), seq_length);
  all += predictions * (6.0 * h * h + logits_flops(config(), tensor().size()));
  if (config().binary_head) all += sequences * 6.0 * (h * h + 2 * h);
  return all;
}

}  // namespace megalith

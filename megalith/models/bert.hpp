// BERT: a bidirectional transformer with a masked-language-model head and a sentence order head, or
// with the head of a task, to be fine-tuned (bert_task.cpp).
//
// Each layer's norms lie as ModelConfig says; with --apply-residual-connection-post-layernorm it is
// the original BERT with the norms shifted by one place (docs/bert.md). The language-model head has
// a transform of its own, tied logits and a bias split over the vocabulary; it works on the
// predicted positions alone. Devlin et al. (2018); sentence order after Lan et al. (2019).
#pragma once

#include "megalith/models/model.hpp"

namespace megalith {

/// Dense, GeLU, norm, then logits by the word embeddings and a bias.
class LanguageModelHead {
 public:
  LanguageModelHead(const ParameterBuilder& parameters, const ModelConfig& config,
                    const at::Tensor& word_embeddings, const Group& tensor);
  /// [..., H] -> [..., V/t] with columns of padding. Communicates: tensor, backward.
  at::Tensor forward(const at::Tensor& hidden) const;

 private:
  Group tensor_;
  bool openai_gelu_;
  ReplicatedLinear dense_;
  Norm norm_;
  at::Tensor word_embeddings_;  // [V/t, H]
  at::Tensor bias_;             // [V/t]
};

/// The encoder with the heads that its configuration names. With the head of a task it is trained
/// on that; else it needs the language-model head.
class BertModel final : public Model {
 public:
  /// `config` as become_bert() makes it, with any of the heads. Throws c10::Error when it is not.
  BertModel(const ModelConfig& config, const ProcessGroups& groups, at::ScalarType dtype,
            at::Device device, std::optional<int64_t> seed);

  /// -> hidden states after the final norm [S, B, H]. Communicates: tensor, both.
  at::Tensor hidden_states(const ModelInput& input, LayerContext& context,
                           const RecomputePlan& plan = {}) const;
  // Each of these needs its head: config().head_names(). No dropout is in them.
  /// hidden [..., H] -> logits [..., V/t] with columns of padding. Communicates: tensor, backward.
  at::Tensor logits(const at::Tensor& hidden) const;
  /// hidden [S, B, H] -> tanh(dense(first position)) [B, H].
  at::Tensor pooled(const at::Tensor& hidden) const;
  /// pooled [B, H] -> [B, 2]: of parts in their order, and swapped.
  at::Tensor order_logits(const at::Tensor& pooled) const;
  /// pooled [B, H] -> [B, num_classes].
  at::Tensor class_logits(const at::Tensor& pooled) const;
  /// pooled [B, H] -> [B, 1]: of each row as the right choice.
  at::Tensor choice_logits(const at::Tensor& pooled) const;
  /// hidden [S, B, H] -> [S, B, 2]: of each position as the answer's first and last.
  at::Tensor span_logits(const at::Tensor& hidden) const;

  /// What the task's head says of each row of the input, with dropout in front of it when training:
  /// of classes [B, num_classes]; of a choice [B, 1]; of places [B, S, 2], without dropout.
  /// Communicates: tensor, both.
  at::Tensor task_logits(const ModelInput& input, LayerContext& context,
                         const RecomputePlan& plan = {}) const;

  /// "lm loss", the mean over the masked tokens, and "sop loss", the mean over the pairs; of a task
  /// "loss", the mean over the examples (of spans that of both ends, every place of the row being a
  /// candidate, as in BERT's run_squad).
  std::vector<std::string> loss_names() const override;
  std::vector<LossPart> losses(const ModelInput& input, const Targets& targets,
                               LayerContext& context, const RecomputePlan& plan) const override;
  double flops(int64_t samples, int64_t seq_length, double predictions) const override;

 private:
  LossPart task_loss(const at::Tensor& logits, const at::Tensor& labels) const;
  double task_flops(int64_t samples, int64_t seq_length) const;
  LossPart masked_token_loss(const at::Tensor& hidden, const Targets& targets) const;
  LossPart order_loss(const at::Tensor& hidden, const Targets& targets) const;

  Transformer encoder_;
  std::optional<LanguageModelHead> lm_head_;
  std::optional<ReplicatedLinear> pooler_, binary_head_, classification_head_, multichoice_head_,
      qa_head_;
  VocabRange vocab_range_;
};

}  // namespace megalith

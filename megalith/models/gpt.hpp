// The GPT decoder: a transformer with logits over the split vocabulary, tied or of their own.
//
// No optimizer and no loop here: training/trainer.hpp.
#pragma once

#include "megalith/models/model.hpp"

namespace megalith {

/// What the model says about tokens.
struct TokenScores {
  at::Tensor losses;     // [N] cross entropy in fp32 (double)
  at::Tensor likeliest;  // [N] int64, the id of the largest logit; undefined when not asked for
};

class GptModel final : public Model {
 public:
  /// `seed` draws the initial weights; without one they are for load_weights() to fill.
  GptModel(const ModelConfig& config, const ProcessGroups& groups, at::ScalarType dtype,
           at::Device device, std::optional<int64_t> seed);

  /// -> hidden states after the final norm [S, B, H]. Communicates: tensor, both.
  at::Tensor hidden_states(const ModelInput& input, LayerContext& context,
                           const RecomputePlan& plan = {}) const;
  /// hidden [S, B, H] -> logits [S, B, V/t] with columns of padding. Communicates: tensor,
  /// backward.
  at::Tensor logits(const at::Tensor& hidden) const;
  /// Cross entropy of every token [S, B] in fp32 (double); labels [B, S]. Communicates: tensor,
  /// both.
  at::Tensor token_losses(const ModelInput& input, const at::Tensor& labels, LayerContext& context,
                          const RecomputePlan& plan = {}) const;

  std::vector<std::string> loss_names() const override { return {"lm loss"}; }
  std::vector<LossPart> losses(const ModelInput& input, const Targets& targets,
                               LayerContext& context, const RecomputePlan& plan) const override;
  double flops(int64_t samples, int64_t seq_length, double predictions) const override;

  /// Scores `labels` [N] against some rows of the hidden states, hidden [N, H]: the logits of no
  /// other token are made, N·V/t numbers. Under no_grad. Communicates: tensor.
  TokenScores score(const at::Tensor& hidden, const at::Tensor& labels, bool with_likeliest) const;

 private:
  Transformer decoder_;
  at::Tensor output_weight_;  // [V/t, H]; the embedding's when tied
  VocabRange vocab_range_;
};

}  // namespace megalith

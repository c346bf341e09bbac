// The GPT decoder: a transformer with logits over the split vocabulary, tied or of their own.
//
// No optimizer and no loop here: training/trainer.hpp.
#pragma once

#include "megalith/models/model.hpp"

namespace megalith {

class GptModel final : public Model {
 public:
  GptModel(const ModelConfig& config, const ProcessGroups& groups, at::ScalarType dtype,
           at::Device device, int64_t seed);

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

 private:
  Transformer decoder_;
  at::Tensor output_weight_;  // [V/t, H]; the embedding's when tied
  VocabRange vocab_range_;
};

}  // namespace megalith

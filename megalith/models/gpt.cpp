#include "megalith/models/gpt.hpp"

#include <ATen/ATen.h>

namespace megalith {

GptModel::GptModel(const ModelConfig& config, const ProcessGroups& groups, at::ScalarType dtype,
                   at::Device device, std::optional<int64_t> seed)
    : Model(config, groups, dtype, device), decoder_(builder(seed), "decoder", config, tensor()) {
  const int64_t padded = config.padded_vocab_size(tensor().size());
  vocab_range_ = vocab_range(config.vocab_size, padded, tensor());
  output_weight_ =
      config.untie_embeddings_and_output_weights
          ? builder(seed).vocabulary("output_layer.weight", config.vocab_size, padded,
                                     config.hidden_size, Init::normal(config.init_method_std))
          : decoder_.word_embeddings();
}

at::Tensor GptModel::hidden_states(const ModelInput& input, LayerContext& context,
                                   const RecomputePlan& plan) const {
  return decoder_.forward(input, context, plan);
}

at::Tensor GptModel::logits(const at::Tensor& hidden) const {
  return vocab_parallel_logits(hidden, output_weight_, {}, tensor());
}

at::Tensor GptModel::token_losses(const ModelInput& input, const at::Tensor& labels,
                                  LayerContext& context, const RecomputePlan& plan) const {
  const at::Tensor hidden = hidden_states(input, context, plan);
  return vocab_parallel_cross_entropy(logits(hidden), labels.t().contiguous(), vocab_range_,
                                      tensor());
}

std::vector<LossPart> GptModel::losses(const ModelInput& input, const Targets& targets,
                                       LayerContext& context, const RecomputePlan& plan) const {
  const at::Tensor token = token_losses(input, targets.labels, context, plan);  // [S, B]
  return {{(token * targets.loss_mask).sum(), targets.loss_mask.sum()}};
}

double GptModel::flops(int64_t samples, int64_t seq_length, double /*predictions*/) const {
  const double tokens = static_cast<double>(samples) * static_cast<double>(seq_length);
  return tokens * (layer_flops(config(), seq_length) + logits_flops(config(), tensor().size()));
}

TokenScores GptModel::score(const at::Tensor& hidden, const at::Tensor& labels,
                            bool with_likeliest) const {
  const at::Tensor rows = logits(hidden.unsqueeze(0)).squeeze(0);  // [N, V/t]
  TokenScores scores;
  scores.losses = vocab_parallel_cross_entropy(rows, labels, vocab_range_, tensor());
  if (with_likeliest) scores.likeliest = vocab_parallel_argmax(rows, vocab_range_, tensor());
  return scores;
}

}  // namespace megalith

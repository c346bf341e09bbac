#include "megalith/checkpoint/fixed_loss.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "megalith/checkpoint/model_io.hpp"
#include "megalith/models/bert.hpp"
#include "megalith/models/gpt.hpp"

namespace megalith {
namespace {

double next_ids_loss(const Checkpoint& checkpoint, const ModelConfig& config,
                     const at::Tensor& ids) {
  GptModel model(config, ProcessGroups(), at::kFloat, at::kCPU, /*seed=*/std::nullopt);
  load_weights(checkpoint, model);
  const int64_t predictions = ids.size(0) - 1;
  LayerContext context;
  const at::Tensor losses =
      model.token_losses({.tokens = ids.narrow(0, 0, predictions).unsqueeze(0),
                          .position_ids = at::arange(predictions, at::kLong).unsqueeze(0),
                          .segments = {}},
                         ids.narrow(0, 1, predictions).unsqueeze(0), context);
  return losses.to(at::kDouble).mean().item<double>();
}

double bert_number(const Checkpoint& checkpoint, const ModelConfig& config, const at::Tensor& ids) {
  BertModel model(config, ProcessGroups(), at::kFloat, at::kCPU, /*seed=*/std::nullopt);
  load_weights(checkpoint, model);
  LayerContext context;
  const at::Tensor hidden =
      model.hidden_states({.tokens = ids.unsqueeze(0),
                           .position_ids = at::arange(ids.size(0), at::kLong).unsqueeze(0),
                           .segments = {},
                           .token_types = at::zeros_like(ids).unsqueeze(0)},
                          context);  // [S, 1, H]
  if (!config.lm_head_transform) return hidden.to(at::kDouble).abs().mean().item<double>();
  const at::Tensor logits = model.logits(hidden.squeeze(1)).narrow(1, 0, config.vocab_size);
  return at::cross_entropy_loss(logits.to(at::kDouble), ids).item<double>();
}

}  // namespace

FixedLoss loss_of_fixed_ids(const Checkpoint& checkpoint) {
  const c10::NoGradGuard no_grad;
  const ModelConfig config = model_config_from(checkpoint);
  FixedLoss result;
  result.num_ids = std::min(kMostFixedIds, config.max_position_embeddings);
  if (result.num_ids < 2) return result;
  const at::Tensor ids =
      (at::arange(result.num_ids, at::kLong) * kFixedIdStep).remainder(config.vocab_size);
  if (config.bidirectional) {
    result.kind =
        config.lm_head_transform ? FixedLoss::Kind::kSameIds : FixedLoss::Kind::kHiddenStates;
    result.loss = bert_number(checkpoint, config, ids);
  } else {
    result.loss = next_ids_loss(checkpoint, config, ids);
  }
  return result;
}

}  // namespace megalith

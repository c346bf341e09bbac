#include "megalith/checkpoint/fixed_loss.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "megalith/checkpoint/model_io.hpp"

namespace megalith {

FixedLoss loss_of_fixed_ids(const Checkpoint& checkpoint) {
  const c10::NoGradGuard no_grad;
  const ModelConfig config = model_config_from(checkpoint);
  FixedLoss result;
  result.num_ids = std::min(kMostFixedIds, config.max_position_embeddings);
  if (result.num_ids < 2) return result;
  GptModel model(config, ProcessGroups(), at::kFloat, at::kCPU, /*seed=*/std::nullopt);
  load_weights(checkpoint, model);
  const at::Tensor ids =
      (at::arange(result.num_ids, at::kLong) * kFixedIdStep).remainder(config.vocab_size);
  const int64_t predictions = result.num_ids - 1;
  LayerContext context;
  const at::Tensor losses =
      model.token_losses({.tokens = ids.narrow(0, 0, predictions).unsqueeze(0),
                          .position_ids = at::arange(predictions, at::kLong).unsqueeze(0),
                          .segments = {}},
                         ids.narrow(0, 1, predictions).unsqueeze(0), context);
  result.loss = losses.to(at::kDouble).mean().item<double>();
  return result;
}

}  // namespace megalith

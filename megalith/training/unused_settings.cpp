#include "megalith/training/unused_settings.hpp"

namespace megalith {

std::vector<std::string> unused_settings(const RunConfig& config,
                                         const std::function<bool(const std::string&)>& given) {
  struct Rule {
    bool is_used;
    const char* why_not;  // completes "--flag has no effect ..."
    std::vector<const char*> flags;
  };
  const LearningRateConfig& rate = config.learning_rate;
  const bool warms_up =
      rate.lr_warmup_iters > 0 || rate.lr_warmup_samples > 0 || rate.lr_warmup_fraction > 0.0;
  const Rule rules[] = {
      {config.model.position_embedding == PositionEmbedding::kRope,
       "without --position-embedding-type rope",
       {"rotary-base", "rotary-percent"}},
      {config.training.fp16 && !config.loss_scale.loss_scale,
       "where no loss scale changes: it takes --fp16 without --loss-scale",
       {"initial-loss-scale", "min-loss-scale", "loss-scale-window", "hysteresis"}},
      {config.optimizer.kind == OptimizerKind::kAdam,
       "with --optimizer sgd",
       {"adam-beta1", "adam-beta2", "adam-eps"}},
      {config.optimizer.kind == OptimizerKind::kSgd, "with --optimizer adam", {"sgd-momentum"}},
      {config.data.dataloader_type == LoaderKind::kCyclic,
       "without --dataloader-type cyclic",
       {"no-data-sharding"}},
      {!config.data.mock_data, "with --mock-data", {"data-cache-path"}},
      {warms_up, "without a warm-up", {"lr-warmup-init"}},
      {rate.lr_decay_style != LearningRateStyle::kConstant,
       "with --lr-decay-style constant",
       {"min-lr", "lr-decay-iters", "lr-decay-samples"}},
  };
  std::vector<std::string> sentences;
  for (const auto& rule : rules) {
    for (const char* flag : rule.flags) {
      if (rule.is_used || !given(flag)) continue;
      sentences.push_back(fmt::format("--{} has no effect {}", flag, rule.why_not));
    }
  }
  return sentences;
}

}  // namespace megalith

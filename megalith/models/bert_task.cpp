// The part of bert.hpp that is fine-tuned: the heads of tasks, their losses and operations.
#include <ATen/ATen.h>

#include "megalith/models/bert.hpp"
#include "megalith/ops/elementwise.hpp"

namespace megalith {
namespace {

/// Sums of cross entropies, in fp32 or double. logits [N, C], labels [N].
at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& labels) {
  const auto exact = logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return at::cross_entropy_loss(logits.to(exact), labels, {}, at::Reduction::Sum);
}

}  // namespace

at::Tensor BertModel::task_logits(const ModelInput& input, LayerContext& context,
                                  const RecomputePlan& plan) const {
  const at::Tensor hidden = hidden_states(input, context, plan);     // [S, B, H]
  if (config().qa_head) return span_logits(hidden).transpose(0, 1);  // [B, S, 2]
  at::Tensor features = pooled(hidden);                              // [B, H]
  if (context.training && config().hidden_dropout > 0) {
    features = ops::dropout(
        features, config().hidden_dropout,
        shared_generator(context.key, config().num_layers, RandomSite::kHead, features.device()));
  }
  return config().num_classes > 0 ? class_logits(features) : choice_logits(features);
}

LossPart BertModel::task_loss(const at::Tensor& logits, const at::Tensor& labels) const {
  const int64_t examples = labels.size(0);
  const auto as_part = [&](const at::Tensor& sum) -> LossPart {
    return {sum, at::full_like(sum.detach(), static_cast<double>(examples))};
  };
  if (config().qa_head) {
    const at::Tensor start = cross_entropy(logits.select(2, 0), labels.select(1, 0));
    const at::Tensor end = cross_entropy(logits.select(2, 1), labels.select(1, 1));
    return as_part((start + end) / 2);
  }
  // The choices of an example are neighbours.
  return as_part(
      cross_entropy(config().multichoice_head ? logits.view({examples, -1}) : logits, labels));
}

double BertModel::task_flops(int64_t samples, int64_t seq_length) const {
  const double tokens = static_cast<double>(samples * seq_length);
  const double h = static_cast<double>(config().hidden_size);
  const double body = tokens * layer_flops(config(), seq_length);
  if (config().qa_head) return body + tokens * 6.0 * 2 * h;
  const double outputs = config().num_classes > 0 ? static_cast<double>(config().num_classes) : 1.0;
  return body + static_cast<double>(samples) * 6.0 * (h * h + outputs * h);
}

}  // namespace megalith

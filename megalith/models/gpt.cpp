#include "megalith/models/gpt.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "megalith/layers/recompute.hpp"
#include "megalith/ops/elementwise.hpp"

namespace megalith {

GptModel::GptModel(const ModelConfig& config, const ProcessGroups& groups, at::ScalarType dtype,
                   at::Device device, std::optional<int64_t> seed)
    : config_(config),
      tensor_(groups.tensor()),
      dtype_(dtype),
      device_(device),
      range_{.first = 0, .last = config.num_layers} {
  const int64_t padded = config.padded_vocab_size(tensor_.size());
  const Init init = Init::normal(config.init_method_std);
  const ParameterBuilder root(parameters_, dtype, device, seed, tensor_.rank, tensor_.size());
  vocab_range_ = vocab_range(config.vocab_size, padded, tensor_);
  if (range_.embedding) {
    const auto embedding = root.scope("embedding");
    word_embeddings_.emplace(embedding, "word_embeddings", config.vocab_size, padded,
                             config.hidden_size, init, tensor_);
    if (config.position_embedding == PositionEmbedding::kLearnedAbsolute) {
      position_embeddings_ =
          embedding.replicated("position_embeddings.weight",
                               {config.max_position_embeddings, config.hidden_size}, init, true);
    }
  }
  const auto decoder = root.scope("decoder");
  for (int64_t layer = range_.first; layer < range_.last; ++layer) {
    layers_.emplace_back(decoder.scope(fmt::format("layers.{}", layer)), config, layer, tensor_);
  }
  if (range_.output) {
    final_norm_ = Norm(decoder, "final_layernorm", config.hidden_size, config);
    output_weight_ = config.untie_embeddings_and_output_weights
                         ? root.vocabulary("output_layer.weight", config.vocab_size, padded,
                                           config.hidden_size, init)
                         : word_embeddings_->weight();
  }
}

at::Tensor GptModel::embed(const ModelInput& input, const LayerContext& context) const {
  at::Tensor hidden = word_embeddings_->forward(input.tokens.t());  // [S, B, H]
  if (position_embeddings_.defined()) {
    hidden = hidden + embedding_lookup(position_embeddings_, input.position_ids.t());
  }
  if (!context.training || config_.hidden_dropout == 0) return hidden;
  return ops::dropout(hidden, config_.hidden_dropout,
                      shared_generator(context.key, -1, RandomSite::kEmbedding, hidden.device()));
}

at::Tensor GptModel::run_layers(at::Tensor hidden, const LayerContext& context,
                                const RecomputePlan& plan) const {
  const auto count = static_cast<int64_t>(layers_.size());
  // Runs again in backward when recomputed, so it owns its copy of the context.
  const auto run = [this, context](int64_t first, int64_t last, at::Tensor x) {
    for (int64_t i = first; i < last; ++i) {
      if (tensor_.calls) tensor_.calls->set_layer(range_.first + i);
      x = layers_[i].forward(x, context);
    }
    return x;
  };
  const bool full =
      plan.kind == RecomputePlan::Kind::kUniform || plan.kind == RecomputePlan::Kind::kBlock;
  const int64_t chunk = plan.kind == RecomputePlan::Kind::kUniform ? plan.num_layers : 1;
  const int64_t covered = plan.kind == RecomputePlan::Kind::kBlock ? plan.num_layers : count;
  for (int64_t first = 0; first < count; first += chunk) {
    const int64_t last = std::min(first + chunk, count);
    if (full && first < covered && c10::GradMode::is_enabled()) {
      hidden = recompute(
          [run, first, last](const std::vector<at::Tensor>& inputs) {
            return run(first, last, inputs[0]);
          },
          {hidden});
    } else {
      hidden = run(first, last, hidden);
    }
  }
  if (tensor_.calls) tensor_.calls->set_layer(-1);
  return hidden;
}

at::Tensor GptModel::hidden_states(const ModelInput& input, LayerContext& context,
                                   const RecomputePlan& plan) const {
  if (config_.position_embedding == PositionEmbedding::kRope) {
    context.rotary = ops::rotary_angles(
        input.position_ids,
        rotary_frequencies(config_.rotary_size(), config_.rotary_base, config_.rope_scaling));
  }
  if (input.segments.defined()) {
    context.visible =
        input.segments.unsqueeze(2).eq(input.segments.unsqueeze(1)).unsqueeze(1);  // [B, 1, S, S]
  }
  context.recompute_attention =
      plan.kind == RecomputePlan::Kind::kSelective && c10::GradMode::is_enabled();
  return final_norm_.forward(run_layers(embed(input, context), context, plan));
}

at::Tensor GptModel::logits(const at::Tensor& hidden) const {
  return vocab_parallel_logits(hidden, output_weight_, tensor_);
}

at::Tensor GptModel::token_losses(const ModelInput& input, const at::Tensor& labels,
                                  LayerContext& context, const RecomputePlan& plan) const {
  const at::Tensor hidden = hidden_states(input, context, plan);
  return vocab_parallel_cross_entropy(logits(hidden), labels.t().contiguous(), vocab_range_,
                                      tensor_);
}

TokenScores GptModel::score(const at::Tensor& hidden, const at::Tensor& labels,
                            bool with_likeliest) const {
  const at::Tensor rows = logits(hidden.unsqueeze(0)).squeeze(0);  // [N, V/t]
  TokenScores scores;
  scores.losses = vocab_parallel_cross_entropy(rows, labels, vocab_range_, tensor_);
  if (with_likeliest) scores.likeliest = vocab_parallel_argmax(rows, vocab_range_, tensor_);
  return scores;
}

}  // namespace megalith

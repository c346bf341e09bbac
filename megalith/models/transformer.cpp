#include "megalith/models/transformer.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "megalith/layers/recompute.hpp"
#include "megalith/ops/elementwise.hpp"

namespace megalith {

Transformer::Transformer(const ParameterBuilder& root, const std::string& stack,
                         const ModelConfig& config, const Group& tensor)
    : config_(config), tensor_(tensor), range_{.first = 0, .last = config.num_layers} {
  const Init init = Init::normal(config.init_method_std);
  if (range_.embedding) {
    const auto embedding = root.scope("embedding");
    word_embeddings_.emplace(embedding, "word_embeddings", config.vocab_size,
                             config.padded_vocab_size(tensor_.size()), config.hidden_size, init,
                             tensor_);
    if (config.position_embedding == PositionEmbedding::kLearnedAbsolute) {
      position_embeddings_ =
          embedding.replicated("position_embeddings.weight",
                               {config.max_position_embeddings, config.hidden_size}, init, true);
    }
    if (config.num_token_types > 0) {
      type_embeddings_ = embedding.replicated(
          "tokentype_embeddings.weight", {config.num_token_types, config.hidden_size}, init, true);
    }
  }
  const auto scope = root.scope(stack);
  for (int64_t layer = range_.first; layer < range_.last; ++layer) {
    layers_.emplace_back(scope.scope(fmt::format("layers.{}", layer)), config, layer, tensor_);
  }
  if (range_.output) final_norm_ = Norm(scope, "final_layernorm", config.hidden_size, config);
}

at::Tensor Transformer::embed(const ModelInput& input, const LayerContext& context) const {
  at::Tensor hidden = word_embeddings_->forward(input.tokens.t());  // [S, B, H]
  if (position_embeddings_.defined()) {
    hidden = hidden + embedding_lookup(position_embeddings_, input.position_ids.t());
  }
  if (type_embeddings_.defined()) {
    hidden = hidden + embedding_lookup(type_embeddings_, input.token_types.t());
  }
  if (!context.training || config_.hidden_dropout == 0) return hidden;
  return ops::dropout(hidden, config_.hidden_dropout,
                      shared_generator(context.key, -1, RandomSite::kEmbedding, hidden.device()));
}

at::Tensor Transformer::run_layers(at::Tensor hidden, const LayerContext& context,
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

at::Tensor Transformer::forward(const ModelInput& input, LayerContext& context,
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
  context.key_mask = input.padding_mask;
  context.recompute_attention =
      plan.kind == RecomputePlan::Kind::kSelective && c10::GradMode::is_enabled();
  return final_norm_.forward(run_layers(embed(input, context), context, plan));
}

}  // namespace megalith

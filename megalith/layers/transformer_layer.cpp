#include "megalith/layers/transformer_layer.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "megalith/layers/recompute.hpp"
#include "megalith/ops/attention.hpp"
#include "megalith/ops/elementwise.hpp"

namespace megalith {
namespace {

Init input_init(const ModelConfig& config) { return Init::normal(config.init_method_std); }
/// Weights just before a residual add: 1/sqrt(2 layers) of the rest (section 3, after GPT-2).
Init output_init(const ModelConfig& config) {
  return Init::normal(config.init_method_std / std::sqrt(2.0 * double(config.num_layers)));
}

std::vector<ParameterBuilder::Part> query_key_value_parts(const ModelConfig& config) {
  const int64_t query = config.num_attention_heads * config.head_size();
  const int64_t key = config.num_query_groups() * config.head_size();
  return {
      {"self_attention.query", query}, {"self_attention.key", key}, {"self_attention.value", key}};
}

std::vector<ParameterBuilder::Part> first_parts(const ModelConfig& config) {
  const int64_t width = config.ffn_hidden_size();
  if (config.swiglu) return {{"mlp.gate", width}, {"mlp.up", width}};
  return {{"mlp.linear_fc1", width}};
}

/// residual + dropout(output): dropout alone when training.
at::Tensor add_to_residual(const at::Tensor& residual, const at::Tensor& output, double probability,
                           const LayerContext& context, int64_t layer, RandomSite site) {
  if (!context.training || probability == 0) return residual + output;
  return ops::add_dropped(residual, output, probability,
                          shared_generator(context.key, layer, site, output.device()));
}

}  // namespace

Norm::Norm(const ParameterBuilder& parameters, const std::string& name, int64_t size,
           const ModelConfig& config, ParameterBuilder::Copies copies)
    : weight_(parameters.replicated(name + ".weight", {size}, Init::ones(), false, copies)),
      epsilon_(config.norm_epsilon) {
  if (config.normalization == Normalization::kLayerNorm) {
    bias_ = parameters.replicated(name + ".bias", {size}, Init::zeros(), false, copies);
  }
}

at::Tensor Norm::forward(const at::Tensor& input) const {
  return bias_.defined() ? ops::layer_norm(input, weight_, bias_, epsilon_)
                         : ops::rms_norm(input, weight_, epsilon_);
}

SelfAttention::SelfAttention(const ParameterBuilder& parameters, const ModelConfig& config,
                             int64_t layer, const Group& tensor)
    : config_(config),
      layer_(layer),
      local_heads_(config.num_attention_heads / tensor.size()),
      local_groups_(config.num_query_groups() / tensor.size()),
      query_key_value_(parameters, "self_attention.linear_qkv", config.hidden_size,
                       query_key_value_parts(config), config.qkv_bias(), input_init(config),
                       tensor),
      projection_(parameters, "self_attention.linear_proj",
                  config.num_attention_heads * config.head_size(), config.hidden_size,
                  config.proj_bias(), output_init(config), tensor) {
  if (!config.qk_layernorm) return;
  // Every tensor rank norms heads of its own.
  const auto copies = ParameterBuilder::Copies::kPartial;
  query_norm_.emplace(parameters, "self_attention.q_layernorm", config.head_size(), config, copies);
  key_norm_.emplace(parameters, "self_attention.k_layernorm", config.head_size(), config, copies);
}

at::Tensor SelfAttention::forward(const at::Tensor& hidden, const LayerContext& context) const {
  const int64_t size = config_.head_size();
  const auto parts = query_key_value_.forward(hidden).split_with_sizes(
      {local_heads_ * size, local_groups_ * size, local_groups_ * size}, -1);
  std::vector<at::Tensor> qkv;
  for (const auto& part : parts) qkv.push_back(part.unflatten(-1, {-1, size}));  // [S, B, A/t, D]
  if (query_norm_) {
    qkv[0] = query_norm_->forward(qkv[0]);
    qkv[1] = key_norm_->forward(qkv[1]);
  }
  const auto core = [this, context](const std::vector<at::Tensor>& inputs) {
    return this->core(inputs, context);
  };
  const at::Tensor heads = context.recompute_attention ? recompute(core, qkv) : core(qkv);
  return projection_.forward(heads.flatten(2));  // [S, B, H]
}

at::Tensor SelfAttention::core(const std::vector<at::Tensor>& query_key_value,
                               const LayerContext& context) const {
  at::Tensor query = query_key_value[0], key = query_key_value[1], value = query_key_value[2];
  if (context.rotary.defined()) {
    const double scale = config_.rope_scaling.attention_factor();
    query = ops::apply_rotary(query, context.rotary, scale);
    key = ops::apply_rotary(key, context.rotary, scale);
  }
  ops::AttentionOptions options{.causal = context.caches == nullptr, .visible = context.visible};
  if (context.caches != nullptr) {
    auto& cache = context.caches->at(layer_);
    const at::Tensor column = at::arange(key.size(1), context.cache_positions.options());
    cache.keys.index_put_({context.cache_positions, column}, key);
    cache.values.index_put_({context.cache_positions, column}, value);
    key = cache.keys;
    value = cache.values;
  }
  if (context.training && config_.attention_dropout > 0) {
    options.dropout = config_.attention_dropout;
    options.generator = own_generator(context.key, layer_, RandomSite::kAttention, query.device());
  }
  return ops::attention(query, key, value, options);  // [S, B, A/t, D]
}

Mlp::Mlp(const ParameterBuilder& parameters, const ModelConfig& config, const Group& tensor)
    : config_(config),
      first_(parameters, "mlp.linear_fc1", config.hidden_size, first_parts(config),
             !config.disable_bias_linear, input_init(config), tensor),
      second_(parameters, "mlp.linear_fc2", config.ffn_hidden_size(), config.hidden_size,
              !config.disable_bias_linear, output_init(config), tensor) {}

at::Tensor Mlp::forward(const at::Tensor& hidden) const {
  const at::Tensor wide = first_.forward(hidden);  // [S, B, F/t]
  if (config_.swiglu) return second_.forward(ops::swiglu(wide));
  if (config_.squared_relu) return second_.forward(ops::squared_relu(wide));
  return second_.forward(ops::gelu(wide, config_.openai_gelu));
}

TransformerLayer::TransformerLayer(const ParameterBuilder& parameters, const ModelConfig& config,
                                   int64_t layer, const Group& tensor)
    : hidden_dropout_(config.hidden_dropout),
      layer_(layer),
      attention_norm_(parameters, "input_layernorm", config.hidden_size, config),
      attention_(parameters, config, layer, tensor),
      mlp_norm_(parameters, "pre_mlp_layernorm", config.hidden_size, config),
      mlp_(parameters, config, tensor) {}

at::Tensor TransformerLayer::forward(const at::Tensor& hidden, const LayerContext& context) const {
  const at::Tensor attended = attention_.forward(attention_norm_.forward(hidden), context);
  const at::Tensor middle = add_to_residual(hidden, attended, hidden_dropout_, context, layer_,
                                            RandomSite::kAttentionOutput);
  const at::Tensor transformed = mlp_.forward(mlp_norm_.forward(middle));
  return add_to_residual(middle, transformed, hidden_dropout_, context, layer_,
                         RandomSite::kMlpOutput);
}

}  // namespace megalith

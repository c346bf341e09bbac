#include "megalith/checkpoint/upstream_names.hpp"

#include <array>
#include <charconv>
#include <utility>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

using Renaming = std::pair<std::string_view, std::string_view>;

constexpr std::string_view kLayers = "decoder.layers.";

/// Beginnings, tried one after the other.
constexpr std::array<Renaming, 7> kBeginnings = {{
    {"module.", ""},
    {"language_model.", ""},
    {"transformer.", "decoder."},
    {"encoder.", "decoder."},
    {"word_embeddings_for_head.", "output_layer."},  // the last stage's copy of the embedding
    {"lm_head.layer_norm.", "lm_head.layernorm."},   // core's, of BERT
    {"output_layer.bias", "lm_head.bias"},
}};

/// Whole middles and ends of a name inside a layer, tried one after the other.
constexpr std::array<Renaming, 12> kInsideLayers = {{
    {".attention.", ".self_attention."},
    {".query_key_value.", ".linear_qkv."},
    {".self_attention.dense.", ".self_attention.linear_proj."},
    {".mlp.dense_h_to_4h.", ".mlp.linear_fc1."},
    {".mlp.dense_4h_to_h.", ".mlp.linear_fc2."},
    {".input_norm.", ".input_layernorm."},
    {".post_attention_norm.", ".pre_mlp_layernorm."},
    {".post_attention_layernorm.", ".pre_mlp_layernorm."},
    // Norms that a fused layer holds.
    {".self_attention.linear_qkv.layer_norm_weight", ".input_layernorm.weight"},
    {".self_attention.linear_qkv.layer_norm_bias", ".input_layernorm.bias"},
    {".mlp.linear_fc1.layer_norm_weight", ".pre_mlp_layernorm.weight"},
    {".mlp.linear_fc1.layer_norm_bias", ".pre_mlp_layernorm.bias"},
}};

bool is_no_weight(std::string_view name) {
  return name.ends_with("_extra_state") || name.ends_with("inv_freq") ||
         name.find("rotary_pos_emb") != std::string_view::npos;
}

/// Moves the number after "decoder.layers." by `first_layer`.
std::string with_layer(const std::string& name, int64_t first_layer) {
  const int64_t layer = upstream_layer(name);
  if (layer < 0 || first_layer == 0) return name;
  const size_t end = name.find('.', kLayers.size());
  return fmt::format("{}{}{}", kLayers, layer + first_layer, name.substr(end));
}

}  // namespace

std::string upstream_name(std::string_view path, int64_t first_layer) {
  if (is_no_weight(path)) return "";
  std::string name(path);
  for (const auto& [theirs, ours] : kBeginnings) {
    if (name.starts_with(theirs)) name = std::string(ours) + name.substr(theirs.size());
  }
  if (name.starts_with("decoder.final_norm.")) name.replace(8, 10, "final_layernorm");
  if (!name.starts_with(kLayers)) return name;
  for (const auto& [theirs, ours] : kInsideLayers) {
    const size_t place = name.find(theirs);
    if (place != std::string::npos) name.replace(place, theirs.size(), ours);
  }
  return with_layer(name, first_layer);
}

int64_t upstream_layer(std::string_view name) {
  if (!name.starts_with(kLayers)) return -1;
  int64_t layer = -1;
  const char* begin = name.data() + kLayers.size();
  const auto [end, error] = std::from_chars(begin, name.data() + name.size(), layer);
  const bool is_number = error == std::errc() && end != name.data() + name.size() && *end == '.' &&
                         layer >= 0 && layer < 100'000;
  return is_number ? layer : -1;
}

}  // namespace megalith

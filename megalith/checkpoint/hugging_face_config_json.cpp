// The part of hugging_face_config.hpp that writes.
#include "megalith/checkpoint/hugging_face_bert.hpp"
#include "megalith/checkpoint/hugging_face_config.hpp"

namespace megalith {
namespace {

using Json = nlohmann::json;
using Family = HuggingFaceFamily;

/// Adds "it has --swiglu" and the like, where a condition does not hold.
class Conditions {
 public:
  void require(bool holds, const std::string& otherwise) {
    if (!holds) misfits_.push_back(otherwise);
  }
  std::vector<std::string> take() { return std::move(misfits_); }

 private:
  std::vector<std::string> misfits_;
};

std::vector<std::string> gpt2_misfits(const ModelConfig& config) {
  Conditions all;
  all.require(config.position_embedding == PositionEmbedding::kLearnedAbsolute,
              "--position-embedding-type must be learned_absolute");
  all.require(config.normalization == Normalization::kLayerNorm,
              "--normalization must be LayerNorm");
  all.require(!config.swiglu, "--swiglu must be off");
  all.require(!config.disable_bias_linear, "--disable-bias-linear must be off");
  all.require(!config.qk_layernorm, "--qk-layernorm must be off");
  all.require(config.num_query_groups() == config.num_attention_heads,
              "every head must have keys of its own (--num-query-groups)");
  all.require(config.head_size() * config.num_attention_heads == config.hidden_size,
              "--kv-channels must be hidden-size / heads");
  return all.take();
}

std::vector<std::string> llama_like_misfits(Family family, const ModelConfig& config) {
  Conditions all;
  all.require(config.position_embedding == PositionEmbedding::kRope,
              "--position-embedding-type must be rope");
  all.require(config.rotary_percent == 1.0, "--rotary-percent must be 1");
  all.require(config.normalization == Normalization::kRmsNorm, "--normalization must be RMSNorm");
  all.require(config.swiglu, "--swiglu must be on");
  const bool head_norms = family == Family::kQwen3;
  all.require(config.qk_layernorm == head_norms,
              fmt::format("--qk-layernorm must be {}", head_norms ? "on" : "off"));
  if (family == Family::kLlama) {
    all.require(config.hidden_size % config.num_attention_heads == 0,
                "--num-attention-heads must divide --hidden-size");
  } else {
    all.require(config.disable_bias_linear, "--disable-bias-linear must be on");
  }
  if (family == Family::kLlama || family == Family::kQwen3) {
    all.require(config.qkv_bias() == config.proj_bias(),
                "--add-qkv-bias and --add-proj-bias must both be on or off");
  } else {
    const bool qkv = family == Family::kQwen2;
    all.require(config.qkv_bias() == qkv,
                fmt::format("--add-qkv-bias must be {}", qkv ? "on" : "off"));
    all.require(!config.proj_bias(), "--add-proj-bias must be off");
  }
  return all.take();
}

/// As all versions of transformers read it.
Json rope_scaling_json(const RopeScaling& scaling) {
  const auto kind = [](const char* name) { return Json{{"rope_type", name}, {"type", name}}; };
  Json json;
  switch (scaling.type) {
    case RopeScalingType::kNone:
      return nullptr;
    case RopeScalingType::kLinear:
      json = kind("linear");
      break;
    case RopeScalingType::kDynamic:
      json = kind("dynamic");
      break;
    case RopeScalingType::kLlama3:
      json = kind("llama3");
      json["low_freq_factor"] = scaling.low_frequency_factor;
      json["high_freq_factor"] = scaling.high_frequency_factor;
      json["original_max_position_embeddings"] = scaling.original_positions();
      break;
    case RopeScalingType::kYarn:
      json = kind("yarn");
      json["beta_fast"] = scaling.beta_fast;
      json["beta_slow"] = scaling.beta_slow;
      json["original_max_position_embeddings"] = scaling.original_positions();
      if (scaling.attention_factor_flag) json["attention_factor"] = *scaling.attention_factor_flag;
      break;
  }
  json["factor"] = scaling.factor();
  return json;
}

Json gpt2_fields(const ModelConfig& config) {
  return {{"n_layer", config.num_layers},
          {"n_embd", config.hidden_size},
          {"n_head", config.num_attention_heads},
          {"n_positions", config.max_position_embeddings},
          {"n_inner", config.ffn_hidden_size_flag ? Json(*config.ffn_hidden_size_flag) : Json()},
          {"layer_norm_epsilon", config.norm_epsilon},
          {"activation_function", config.openai_gelu    ? "gelu_new"
                                  : config.squared_relu ? "relu2"
                                                        : "gelu"},
          {"scale_attn_weights", true},
          {"scale_attn_by_inverse_layer_idx", false}};
}

Json llama_like_fields(Family family, const ModelConfig& config) {
  Json json{{"num_hidden_layers", config.num_layers},
            {"hidden_size", config.hidden_size},
            {"num_attention_heads", config.num_attention_heads},
            {"num_key_value_heads", config.num_query_groups()},
            {"head_dim", config.head_size()},
            {"intermediate_size", config.ffn_hidden_size()},
            {"max_position_embeddings", config.max_position_embeddings},
            {"rms_norm_eps", config.norm_epsilon},
            {"hidden_act", "silu"},
            {"rope_theta", config.rotary_base},
            {"rope_scaling", rope_scaling_json(config.rope_scaling)}};
  if (family == Family::kLlama || family == Family::kQwen3) {
    json["attention_bias"] = config.qkv_bias();
  }
  if (family == Family::kLlama) json["mlp_bias"] = !config.disable_bias_linear;
  if (family == Family::kMistral) json["sliding_window"] = nullptr;
  if (family == Family::kQwen2 || family == Family::kQwen3) json["use_sliding_window"] = false;
  return json;
}

}  // namespace

std::vector<std::string> hugging_face_misfits(Family family, const ModelConfig& config) {
  if (family == Family::kBert) return bert_misfits(config);
  if (config.bidirectional) return {"it must be a decoder, and is a BERT"};
  auto misfits =
      family == Family::kGpt2 ? gpt2_misfits(config) : llama_like_misfits(family, config);
  if (config.residual_post_layernorm) {
    misfits.emplace_back("--apply-residual-connection-post-layernorm must be off");
  }
  return misfits;
}

nlohmann::ordered_json hugging_face_config_json(Family family, const ModelConfig& config,
                                                const std::string& dtype, const Json& original) {
  const auto& name = name_of(family);
  Json json = original.is_object() ? original : Json::object();
  // Today's names for what stands there under the names that every version reads.
  for (const char* key : {"rope_parameters", "dtype", "layer_types", "max_window_layers",
                          "partial_rotary_factor", "n_ctx", "num_labels"}) {
    json.erase(key);
  }
  json["architectures"] = {name.architecture};
  json["model_type"] = name.model_type;
  json["torch_dtype"] = dtype;
  json["vocab_size"] = config.vocab_size;
  json["tie_word_embeddings"] = !config.untie_embeddings_and_output_weights;
  switch (family) {
    case Family::kGpt2:
      json.update(gpt2_fields(config));
      break;
    case Family::kBert:
      json.update(bert_fields(config, json));
      break;
    default:
      json.update(llama_like_fields(family, config));
  }
  // Where nothing is said the classes take ids of their own vocabularies.
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    if (!json.contains(key)) json[key] = nullptr;
  }
  return json;
}

}  // namespace megalith

#include "megalith/checkpoint/hugging_face_config.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "megalith/checkpoint/hugging_face_bert.hpp"
#include "megalith/checkpoint/hugging_face_fields.hpp"
#include "megalith/core/atomic_file.hpp"

namespace megalith {
namespace {

using Json = nlohmann::json;
using Family = HuggingFaceFamily;

constexpr double kLargest = 1 << 30;

std::string supported_architectures() {
  std::vector<std::string> names;
  for (const auto& family : hugging_face_families()) {
    if (family.family == Family::kBert) continue;
    names.push_back(fmt::format("{} ({})", family.architecture, family.model_type));
  }
  names.push_back(fmt::format("{} (bert)", fmt::join(bert_architectures(), ", ")));
  return fmt::format("{}", fmt::join(names, ", "));
}

/// By model_type and architectures, which must not contradict each other.
Family family_of(const Json& json, const std::string& path) {
  const std::string type = json.value("model_type", "");
  std::vector<std::string> architectures;
  if (json.contains("architectures") && json["architectures"].is_array()) {
    architectures = json["architectures"].get<std::vector<std::string>>();
  }
  for (const auto& name : hugging_face_families()) {
    const auto& berts = bert_architectures();
    const auto is_its = [&](const std::string& a) {
      return a == name.architecture || a == name.base ||
             (name.family == Family::kBert && std::count(berts.begin(), berts.end(), a) > 0);
    };
    const bool all = std::all_of(architectures.begin(), architectures.end(), is_its);
    if (type == name.model_type && all) return name.family;
    if (type.empty() && !architectures.empty() && all) return name.family;
  }
  throw UsageError("{}: model_type '{}' with architectures [{}] is not supported; supported are {}",
                   path, type, fmt::join(architectures, ", "), supported_architectures());
}

double yarn_attention_factor(double factor, std::optional<double> mscale,
                             std::optional<double> mscale_all) {
  const auto scaled = [&](double m) { return factor <= 1 ? 1.0 : 0.1 * m * std::log(factor) + 1; };
  // Zero counts as not given there.
  if (mscale && mscale_all && *mscale != 0 && *mscale_all != 0) {
    return scaled(*mscale) / scaled(*mscale_all);
  }
  return scaled(1);
}

void read_yarn(JsonFields& rope, RopeScaling& scaling) {
  if (const auto fast = rope.optional_number("beta_fast")) scaling.beta_fast = *fast;
  if (const auto slow = rope.optional_number("beta_slow")) scaling.beta_slow = *slow;
  const auto mscale = rope.optional_number("mscale");
  const auto mscale_all = rope.optional_number("mscale_all_dim");
  scaling.attention_factor_flag = rope.optional_number("attention_factor");
  if (!scaling.attention_factor_flag && mscale && mscale_all) {
    scaling.attention_factor_flag = yarn_attention_factor(scaling.factor(), mscale, mscale_all);
  }
  if (!rope.boolean("truncate", true)) {
    rope.refuse("truncate", "only rounded ends of yarn's ramp are built");
  }
}

void read_rope_kind(JsonFields& rope, const std::string& kind, ModelConfig& model) {
  RopeScaling& scaling = model.rope_scaling;
  const auto take_factor = [&] { scaling.factor_flag = rope.required_number("factor"); };
  const auto take_original = [&] {
    scaling.original_positions_flag =
        rope.integer("original_max_position_embeddings", model.max_position_embeddings);
  };
  if (kind == "default") return;
  if (kind == "linear") {
    scaling.type = RopeScalingType::kLinear;
    take_factor();
  } else if (kind == "dynamic") {
    scaling.type = RopeScalingType::kDynamic;
    take_factor();
  } else if (kind == "llama3") {
    scaling.type = RopeScalingType::kLlama3;
    take_factor();
    take_original();
    scaling.low_frequency_factor = rope.required_number("low_freq_factor");
    scaling.high_frequency_factor = rope.required_number("high_freq_factor");
  } else if (kind == "yarn") {
    scaling.type = RopeScalingType::kYarn;
    take_factor();
    take_original();
    read_yarn(rope, scaling);
  } else {
    rope.refuse("rope_type", fmt::format("kind '{}' is not supported; supported are default, "
                                         "linear, dynamic, llama3 and yarn",
                                         kind));
    rope.take_rest();
  }
}

/// rope_parameters (today) or rope_theta and rope_scaling (before).
void read_rope(JsonFields& fields, ModelConfig& model, Problems& problems) {
  model.position_embedding = PositionEmbedding::kRope;
  const double base = fields.number("rope_theta", 10000.0);
  const double partial = fields.number("partial_rotary_factor", 1.0);
  const Json today = fields.object("rope_parameters"), before = fields.object("rope_scaling");
  const char* const key = today.is_null() ? "rope_scaling" : "rope_parameters";
  JsonFields rope(today.is_null() ? (before.is_null() ? Json::object() : before) : today,
                  fmt::format("{}: {}", fields.source(), key), problems);
  const std::string old_kind = rope.text("type", "default");
  const std::string kind = rope.text("rope_type", old_kind);
  model.rotary_base = rope.number("rope_theta", base);
  if (rope.number("partial_rotary_factor", partial) != 1.0) {
    rope.refuse("partial_rotary_factor", "these architectures rotate the whole head");
  }
  read_rope_kind(rope, kind, model);
  rope.refuse_unknown({}, {});
}

void read_gpt2(JsonFields& fields, HuggingFaceConfig& config) {
  ModelConfig& model = config.model;
  model.num_layers = fields.required_integer("n_layer");
  model.hidden_size = fields.required_integer("n_embd");
  model.num_attention_heads = fields.required_integer("n_head");
  model.max_position_embeddings = fields.required_integer("n_positions");
  model.norm_epsilon = fields.number("layer_norm_epsilon", 1e-5);
  if (const auto inner = fields.optional_integer("n_inner")) model.ffn_hidden_size_flag = *inner;
  const std::string activation = fields.text("activation_function", "gelu_new");
  model.openai_gelu = kTanhGelu.contains(activation);
  model.squared_relu = activation == "relu2";
  if (!model.openai_gelu && !model.squared_relu && !kErfGelu.contains(activation)) {
    fields.refuse("activation_function",
                  fmt::format("'{}' is not supported; supported are {}, {} and relu2", activation,
                              fmt::join(kTanhGelu, ", "), fmt::join(kErfGelu, ", ")));
  }
  if (!fields.boolean("scale_attn_weights", true)) {
    fields.refuse("scale_attn_weights", "scores are always divided by the root of the head size");
  }
  if (fields.boolean("scale_attn_by_inverse_layer_idx", false)) {
    fields.refuse("scale_attn_by_inverse_layer_idx", "scores are not scaled by the layer");
  }
  model.untie_embeddings_and_output_weights = !fields.boolean("tie_word_embeddings", true);
}

void read_biases(JsonFields& fields, Family family, ModelConfig& model) {
  const bool has_switch = family == Family::kLlama || family == Family::kQwen3;
  const bool attention = has_switch && fields.boolean("attention_bias", false);
  const bool mlp = family == Family::kLlama && fields.boolean("mlp_bias", false);
  model.disable_bias_linear = !mlp;
  model.add_qkv_bias = family == Family::kQwen2 || (attention && !mlp);
  model.add_proj_bias = attention && !mlp;
  if (mlp && !attention) {
    fields.refuse("mlp_bias", "biases in the MLP without attention_bias are not supported");
  }
}

/// A window that some layer has, if any.
std::optional<int64_t> window_of(JsonFields& fields, Family family, int64_t num_layers) {
  if (family == Family::kLlama) return std::nullopt;  // an unknown key there
  const bool is_mistral = family == Family::kMistral;
  const bool is_used = is_mistral || fields.boolean("use_sliding_window", false);
  const auto window = is_mistral ? fields.integer_or_null("sliding_window", 4096)
                                 : fields.integer_or_null("sliding_window", 4096);
  const int64_t full_layers = is_mistral ? 0 : fields.integer("max_window_layers", 28, 0);
  const Json types = fields.list("layer_types");
  if (!is_used || !window) return std::nullopt;
  if (types.is_array()) {
    const bool slides = std::find(types.begin(), types.end(), "sliding_attention") != types.end();
    return slides ? window : std::nullopt;
  }
  return full_layers < num_layers ? window : std::nullopt;
}

void read_llama_like(JsonFields& fields, HuggingFaceConfig& config,
                     const HuggingFaceReadOptions& options, Problems& problems) {
  ModelConfig& model = config.model;
  const Family family = config.family;
  model.num_layers = fields.required_integer("num_hidden_layers");
  model.hidden_size = fields.required_integer("hidden_size");
  model.num_attention_heads = fields.required_integer("num_attention_heads");
  model.ffn_hidden_size_flag = fields.required_integer("intermediate_size");
  model.max_position_embeddings = fields.required_integer("max_position_embeddings");
  model.norm_epsilon = fields.number("rms_norm_eps", 1e-6);
  model.normalization = Normalization::kRmsNorm;
  model.swiglu = true;
  model.qk_layernorm = family == Family::kQwen3;
  model.untie_embeddings_and_output_weights = !fields.boolean("tie_word_embeddings", false);
  // What a file does not say is what the family's class in transformers says.
  const int64_t heads = model.num_attention_heads;
  const int64_t usual_groups = family == Family::kLlama     ? heads
                               : family == Family::kMistral ? 8
                                                            : 32;
  const int64_t groups =
      fields.integer_or_null("num_key_value_heads", usual_groups).value_or(heads);
  model.group_query_attention = groups != heads;
  if (model.group_query_attention) model.num_query_groups_flag = groups;
  const int64_t usual_head = heads > 0 ? model.hidden_size / heads : 0;
  const int64_t head =
      fields.integer_or_null("head_dim", family == Family::kQwen3 ? 128 : usual_head)
          .value_or(usual_head);
  if (head * heads != model.hidden_size) model.kv_channels_flag = head;
  const std::string activation = fields.text("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") {
    fields.refuse("hidden_act",
                  fmt::format("'{}' is not supported; supported is silu", activation));
  }
  read_biases(fields, family, model);
  read_rope(fields, model, problems);
  const auto window = window_of(fields, family, model.num_layers);
  const auto& wanted = options.max_position_embeddings;
  const int64_t positions = wanted.value_or(model.max_position_embeddings);
  if (wanted && *wanted > model.max_position_embeddings) {
    problems.add("--max-position-embeddings {}: {} has max_position_embeddings {}; give no more",
                 *wanted, fields.source(), model.max_position_embeddings);
  }
  model.max_position_embeddings = positions;
  if (!window) return;
  if (*window < positions) {
    fields.refuse(
        "sliding_window",
        fmt::format("{} is below the model's {} positions, and attention here sees all of "
                    "them; to use the model for texts of up to {} tokens only, give "
                    "--max-position-embeddings {}",
                    *window, positions, *window, *window));
  } else {
    config.notices.push_back(
        fmt::format("the sliding window of {} tokens is never shorter than a text of {} positions",
                    *window, positions));
  }
}

/// The rules of our own flags, each value's range first.
void check_as_model(ModelConfig& model, const std::string& path, Problems& problems) {
  if (!problems.collect([&] {
        fields_from_json(model.shape_fields(), fields_to_json(model.shape_fields()), path);
      })) {
    return;
  }
  Problems shape;
  model.check(1, shape);
  for (const auto& text : shape.texts()) problems.add("{}: as a model here: {}", path, text);
}

}  // namespace

HuggingFaceConfig read_hugging_face_config(const std::string& path,
                                           const HuggingFaceReadOptions& options,
                                           Problems& problems) {
  HuggingFaceConfig config;
  config.json = Json::parse(read_text_file(path), nullptr, /*allow_exceptions=*/false);
  if (!config.json.is_object()) {
    throw UsageError("{}: is no JSON object; it is damaged, or not a model's config.json", path);
  }
  try {
    config.family = family_of(config.json, path);
  } catch (const Json::exception&) {
    throw UsageError("{}: model_type or architectures are not text", path);
  }
  JsonFields fields(config.json, path, problems);
  config.model.vocab_size = fields.required_integer("vocab_size");
  if (config.family == Family::kGpt2) {
    read_gpt2(fields, config);
  } else if (config.family == Family::kBert) {
    read_bert_fields(fields, config);
  } else {
    read_llama_like(fields, config, options, problems);
  }
  const bool is_rotary = config.model.position_embedding == PositionEmbedding::kRope;
  if (!is_rotary && options.max_position_embeddings) {
    problems.add("--max-position-embeddings {}: the positions of {} are weights; leave it out",
                 *options.max_position_embeddings,
                 config.family == Family::kBert ? "BERT" : "GPT-2");
  }
  fields.refuse_unknown(harmless_hugging_face_fields(), options.ignored_keys);
  for (const int64_t size : {config.model.num_layers, config.model.hidden_size,
                             config.model.vocab_size, config.model.max_position_embeddings}) {
    if (static_cast<double>(size) > kLargest) {
      problems.add("{}: a size of {} is no model's; the file is damaged", path, size);
    }
  }
  if (problems.empty()) check_as_model(config.model, path, problems);
  return config;
}

}  // namespace megalith

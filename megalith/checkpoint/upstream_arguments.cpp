#include "megalith/checkpoint/upstream_arguments.hpp"

#include <array>

namespace megalith {

using Kind = PickleValue::Kind;

namespace {

constexpr int64_t kGpt2Vocabulary = 50257;
constexpr int64_t kLargestSize = 1 << 30;  // so that products of two stay whole numbers of 64 bits

/// What changes the model and has no counterpart here.
constexpr std::array kUnsupported = {
    "num_experts",
    "multi_latent_attention",
    "apply_layernorm_1p",
    "rotary_interleaved",
    "use_rope_scaling",
    "rotary_seq_len_interpolation_factor",
    "window_size",
    "qk_layernorm",
    "quick_geglu",
    "glu_activation",
    "heterogeneous_layers_config_path",
};

/// A size from the arguments, else what the tensors say.
int64_t size_of(const UpstreamArguments& arguments, const char* name, int64_t fallback,
                Problems& problems) {
  const int64_t size = arguments.integer(name).value_or(fallback);
  if (size >= 0 && size <= kLargestSize) return size;
  problems.add("its '{}' is {}, which no model has", name, size);
  return 0;
}

/// A number of an open or closed range.
double real_of(const UpstreamArguments& arguments, const char* name, double fallback, double low,
               double high, Problems& problems) {
  const double value = arguments.real(name).value_or(fallback);
  if (value >= low && value <= high) return value;
  problems.add("its '{}' is {}; it must be between {} and {}", name, value, low, high);
  return fallback;
}

void check_supported(const UpstreamArguments& arguments, Problems& problems) {
  for (const char* name : kUnsupported) {
    if (arguments.is_set(name)) {
      problems.add("it was trained with '{}', which this program does not have", name);
    }
  }
}

void read_positions(const UpstreamArguments& arguments, const UpstreamShape& shape,
                    ModelConfig& config, Problems& problems) {
  auto kind = arguments.text("position_embedding_type");
  if (arguments.flag("use_rotary_position_embeddings").value_or(false)) kind = "rope";
  if (!kind && shape.num_positions > 0) kind = "learned_absolute";
  if (kind == "learned_absolute") {
    config.position_embedding = PositionEmbedding::kLearnedAbsolute;
  } else if (kind == "rope") {
    config.position_embedding = PositionEmbedding::kRope;
    config.rotary_base = real_of(arguments, "rotary_base", 10000.0, 1e-6, 1e15, problems);
    config.rotary_percent = real_of(arguments, "rotary_percent", 1.0, 0, 1, problems);
  } else if (kind == "none") {
    config.position_embedding = PositionEmbedding::kNone;
  } else {
    problems.add("its positions are of kind '{}'; this program has learned_absolute, rope and none",
                 kind ? shown(*kind) : "unknown");
  }
  config.max_position_embeddings =
      size_of(arguments, "max_position_embeddings", shape.num_positions, problems);
}

void read_activation(const UpstreamArguments& arguments, ModelConfig& config) {
  config.swiglu = arguments.flag("swiglu").value_or(false);
  config.squared_relu = arguments.flag("squared_relu").value_or(false);
  if (config.swiglu || config.squared_relu) return;
  // The fused kernel computes the tanh form, and so did all code before there was a choice.
  config.openai_gelu = arguments.flag("bias_gelu_fusion").value_or(true) ||
                       arguments.flag("openai_gelu").value_or(false);
}

void read_norm(const UpstreamArguments& arguments, ModelConfig& config, Problems& problems) {
  const auto norm = arguments.text("normalization").value_or("LayerNorm");
  if (norm == "RMSNorm") {
    config.normalization = Normalization::kRmsNorm;
  } else if (norm != "LayerNorm") {
    problems.add("its normalization is '{}'; this program has LayerNorm and RMSNorm", shown(norm));
  }
  const char* name = arguments.real("norm_epsilon") ? "norm_epsilon" : "layernorm_epsilon";
  config.norm_epsilon = real_of(arguments, name, 1e-5, 1e-30, 1, problems);
}

/// The heads are those whose tensors are there.
void read_bert(const UpstreamShape& shape, ModelConfig& config) {
  config.become_bert(shape.has_order_head);
  config.num_token_types = shape.num_token_types;
  config.lm_head_transform = shape.has_lm_head;
  config.num_classes = shape.num_classes;
  config.multichoice_head = shape.has_choice_head;
  config.pooler = shape.has_pooler && !config.has_pooler();
}

void read_widths(const UpstreamArguments& arguments, const UpstreamShape& shape,
                 ModelConfig& config, Problems& problems) {
  const int64_t ffn_rows = config.swiglu ? shape.ffn_rows / 2 : shape.ffn_rows;
  const int64_t ffn = size_of(arguments, "ffn_hidden_size", ffn_rows, problems);
  if (ffn != config.ffn_hidden_size()) config.ffn_hidden_size_flag = ffn;
  const int64_t head = size_of(arguments, "kv_channels", config.head_size(), problems);
  if (head != config.head_size()) config.kv_channels_flag = head;
}

void read_heads(const UpstreamArguments& arguments, const UpstreamOverrides& overrides,
                ModelConfig& config, Problems& problems) {
  const auto heads = arguments.integer("num_attention_heads");
  if (heads && overrides.num_attention_heads && *heads != *overrides.num_attention_heads) {
    problems.add("--num-attention-heads {}: the checkpoint says {}; leave the flag out",
                 *overrides.num_attention_heads, *heads);
  }
  config.num_attention_heads = size_of(arguments, "num_attention_heads",
                                       overrides.num_attention_heads.value_or(0), problems);
  if (config.num_attention_heads <= 0) {
    problems.add(
        "it does not say how many attention heads it has; give the number by "
        "--num-attention-heads");
  }
  config.group_query_attention = arguments.flag("group_query_attention").value_or(false);
  if (config.group_query_attention) {
    config.num_query_groups_flag = size_of(arguments, "num_query_groups", 0, problems);
    if (config.num_query_groups_flag == 0) problems.add("it has query groups, and none in number");
  }
}

/// The size without padding, where it can be known.
std::optional<int64_t> true_vocabulary(const UpstreamArguments& arguments,
                                       const UpstreamShape& shape, const ModelConfig& config) {
  const int64_t multiple = config.make_vocab_size_divisible_by * shape.tensor_size;
  const auto fits = [&](int64_t size) {
    return size > 0 && size <= shape.vocab_rows && shape.vocab_rows - size < multiple;
  };
  const auto tokenizer = arguments.text("tokenizer_type");
  if (const auto given = arguments.integer("vocab_size"); given && *given < kLargestSize) {
    // Numbers alone as tokens: the flag counts them without the end of a document.
    const int64_t size = tokenizer == "NullTokenizer" ? *given + 1 : *given;
    if (fits(size)) return size;
  }
  if (tokenizer == "GPT2BPETokenizer" && fits(kGpt2Vocabulary)) return kGpt2Vocabulary;
  const bool has_no_padding = multiple <= 1 || shape.vocab_rows % multiple != 0;
  return has_no_padding ? std::optional(shape.vocab_rows) : std::nullopt;
}

void read_vocabulary(const UpstreamArguments& arguments, const UpstreamShape& shape,
                     const UpstreamOverrides& overrides, ModelConfig& config, Problems& problems) {
  const auto size =
      overrides.vocab_size ? overrides.vocab_size : true_vocabulary(arguments, shape, config);
  if (!size) {
    problems.add(
        "its vocabulary has {} rows with padding, and it does not say how many without; give "
        "the size of the tokenizer's vocabulary by --vocab-size",
        shape.vocab_rows);
  } else if (*size > shape.vocab_rows) {
    problems.add("--vocab-size {}: the vocabulary has only {} rows", *size, shape.vocab_rows);
  }
  config.vocab_size = size.value_or(0);
}

}  // namespace

UpstreamArguments::UpstreamArguments(const Pickle& pickle)
    : pickle_(&pickle), arguments_(pickle.find(pickle.root(), "args")) {}

const PickleValue* UpstreamArguments::find(const std::string& name) const {
  return arguments_ == nullptr ? nullptr : pickle_->find(*arguments_, name);
}

std::optional<int64_t> UpstreamArguments::integer(const std::string& name) const {
  const auto* value = find(name);
  if (value == nullptr || value->kind != Kind::kInt) return std::nullopt;
  return value->integer;
}

std::optional<double> UpstreamArguments::real(const std::string& name) const {
  const auto* value = find(name);
  if (value != nullptr && value->kind == Kind::kFloat) return value->real;
  const auto whole = integer(name);
  return whole ? std::optional(static_cast<double>(*whole)) : std::nullopt;
}

std::optional<bool> UpstreamArguments::flag(const std::string& name) const {
  const auto* value = find(name);
  if (value == nullptr || value->kind != Kind::kBool) return std::nullopt;
  return value->integer != 0;
}

std::optional<std::string> UpstreamArguments::text(const std::string& name) const {
  const auto* value = find(name);
  if (value == nullptr || value->kind != Kind::kText) return std::nullopt;
  return std::string(value->text);
}

bool UpstreamArguments::is_set(const std::string& name) const {
  const auto* value = find(name);
  if (value == nullptr || value->kind == Kind::kNone) return false;
  const bool is_number = value->kind == Kind::kBool || value->kind == Kind::kInt;
  return !is_number || value->integer != 0;
}

ModelConfig upstream_model(const UpstreamArguments& arguments, const UpstreamShape& shape,
                           const UpstreamOverrides& overrides, Problems& problems) {
  ModelConfig config;
  check_supported(arguments, problems);
  config.num_layers = size_of(arguments, "num_layers", shape.num_layers, problems);
  config.hidden_size = size_of(arguments, "hidden_size", shape.hidden_size, problems);
  config.disable_bias_linear = !arguments.flag("add_bias_linear").value_or(shape.has_linear_bias);
  config.add_qkv_bias = arguments.flag("add_qkv_bias").value_or(false);
  config.untie_embeddings_and_output_weights =
      arguments.flag("untie_embeddings_and_output_weights").value_or(false);
  config.residual_post_layernorm =
      arguments.flag("apply_residual_connection_post_layernorm").value_or(false);
  config.make_vocab_size_divisible_by =
      size_of(arguments, "make_vocab_size_divisible_by", 128, problems);
  if (shape.is_bert()) read_bert(shape, config);
  read_heads(arguments, overrides, config, problems);
  read_positions(arguments, shape, config, problems);
  read_activation(arguments, config);
  read_norm(arguments, config, problems);
  read_widths(arguments, shape, config, problems);
  read_vocabulary(arguments, shape, overrides, config, problems);
  return config;
}

}  // namespace megalith

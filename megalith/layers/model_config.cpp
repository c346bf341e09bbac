#include "megalith/layers/model_config.hpp"

#include <algorithm>

namespace megalith {
namespace {

// Far beyond any model, and small enough that products of them stay whole numbers of 64 bits.
constexpr double kMostLayers = 100'000;
constexpr double kLargestWidth = 16'777'216;

}  // namespace

int64_t ModelConfig::ffn_hidden_size() const {
  if (ffn_hidden_size_flag) return *ffn_hidden_size_flag;
  // SwiGLU has two first matrices, so upstream takes two thirds of the width, in multiples of 64.
  return swiglu ? hidden_size * 8 / 3 / 64 * 64 : 4 * hidden_size;
}

int64_t ModelConfig::head_size() const {
  if (kv_channels_flag) return *kv_channels_flag;
  return num_attention_heads > 0 ? hidden_size / num_attention_heads : 0;
}

int64_t ModelConfig::padded_vocab_size(int64_t tensor_size) const {
  const int64_t multiple = make_vocab_size_divisible_by * tensor_size;
  return (vocab_size + multiple - 1) / multiple * multiple;
}

int64_t ModelConfig::num_parameters(int64_t vocab) const {
  const int64_t h = hidden_size, f = ffn_hidden_size(), d = head_size();
  const int64_t q = num_attention_heads * d, kv = num_query_groups() * d;
  const int64_t norm_tensors = normalization == Normalization::kLayerNorm ? 2 : 1;
  const int64_t norm = norm_tensors * h;
  const int64_t first = swiglu ? 2 * f : f;
  int64_t layer = (q + 2 * kv) * h + q * h + first * h + f * h + 2 * norm;
  if (qkv_bias()) layer += q + 2 * kv;
  if (proj_bias()) layer += h;
  if (!disable_bias_linear) layer += first + h;
  if (qk_layernorm) layer += 2 * norm_tensors * d;
  int64_t total = num_layers * layer + norm + vocab * h;
  if (position_embedding == PositionEmbedding::kLearnedAbsolute)
    total += max_position_embeddings * h;
  if (untie_embeddings_and_output_weights) total += vocab * h;
  total += num_token_types * h;
  if (lm_head_transform) total += h * h + h + norm + vocab;
  if (has_pooler()) total += h * h + h;
  const int64_t scores =
      2 * int64_t{binary_head} + num_classes + int64_t{multichoice_head} + 2 * int64_t{qa_head};
  return total + scores * (h + 1);
}

std::vector<std::string> ModelConfig::head_names() const {
  std::vector<std::string> names;
  const auto add = [&](bool has, const char* name) {
    if (has) names.emplace_back(name);
  };
  add(lm_head_transform, "lm_head");
  add(has_pooler(), "pooler");
  add(binary_head, "binary_head");
  add(num_classes > 0, "classification_head");
  add(multichoice_head, "multichoice_head");
  add(qa_head, "qa_head");
  return names;
}

void ModelConfig::become_bert(bool with_binary_head) {
  bidirectional = true;
  num_token_types = 2;
  lm_head_transform = true;
  binary_head = with_binary_head;
}

FieldList ModelConfig::fields() {
  FieldList fields{
      {"num-layers", &num_layers, "Transformer layers.", between(1, kMostLayers), "required"},
      {"hidden-size", &hidden_size, "Width of the residual stream.", between(1, kLargestWidth),
       "required"},
      {"ffn-hidden-size", &ffn_hidden_size_flag, "Width of the MLP.", between(1, kLargestWidth),
       "4 x hidden-size; 8/3 with --swiglu"},
      {"num-attention-heads", &num_attention_heads, "Attention heads.", between(1, kLargestWidth),
       "required"},
      {"kv-channels", &kv_channels_flag, "Size of one head.", between(1, kLargestWidth),
       "hidden-size / heads"},
      {"group-query-attention", &group_query_attention,
       "Several query heads share a key and value head."},
      {"num-query-groups", &num_query_groups_flag,
       "Key and value heads, with --group-query-attention.", between(1, kLargestWidth)},
      {"max-position-embeddings", &max_position_embeddings,
       "Longest sequence the model can hold; size of the learned positions.",
       between(1, kLongestSequence), "seq-length"},
      {"position-embedding-type", choice(position_embedding, {"learned_absolute", "rope", "none"}),
       "How positions enter."},
      {"rotary-base", &rotary_base, "Base of the rotary frequencies.", above(0)},
      {"rotary-percent", &rotary_percent, "Share of a head that is rotated.", between(0, 1)},
      {"normalization", choice(normalization, {"LayerNorm", "RMSNorm"}), "Kind of norm."},
      {"norm-epsilon", &norm_epsilon, "Added to the variance in norms.", above(0)},
      {"swiglu", &swiglu, "Gated SiLU in the MLP instead of GeLU."},
      {"squared-relu", &squared_relu, "Squared ReLU in the MLP instead of GeLU."},
      {"openai-gelu", &openai_gelu, "GeLU in OpenAI's tanh form, as GPT-2; otherwise erf."},
      {"disable-bias-linear", &disable_bias_linear, "No biases in linear layers."},
      {"add-qkv-bias", &add_qkv_bias, "A bias on query, key and value all the same."},
      {"add-proj-bias", &add_proj_bias, "A bias on the attention's output all the same."},
      {"qk-layernorm", &qk_layernorm,
       "A norm over each head of queries and keys, before rotary positions."},
      {"untie-embeddings-and-output-weights", &untie_embeddings_and_output_weights,
       "An output matrix of its own."},
      {"make-vocab-size-divisible-by", &make_vocab_size_divisible_by,
       "The vocabulary is padded to a multiple of this times the tensor ranks.",
       between(1, kLargestWidth)},
      {"apply-residual-connection-post-layernorm", &residual_post_layernorm,
       "Norms lie on the residual path, as in the original BERT."},
      {"hidden-dropout", &hidden_dropout, "Dropout on embeddings and block outputs.",
       half_open(0, 1)},
      {"attention-dropout", &attention_dropout, "Dropout on attention probabilities.",
       half_open(0, 1)},
      {"init-method-std", &init_method_std,
       "Standard deviation of initial weights; those before a residual add get 1/sqrt(2 layers) of "
       "it.",
       at_least(0)},
  };
  const auto place = std::find_if(fields.begin(), fields.end(),
                                  [](const Field& field) { return field.name == "normalization"; });
  const FieldList scaling = rope_scaling.fields();
  fields.insert(place, scaling.begin(), scaling.end());
  return fields;
}

FieldList ModelConfig::family_fields() {
  return {
      {"bidirectional-attention", &bidirectional, "Attention sees what comes later, too."},
      {"num-tokentypes", &num_token_types, "Rows of the embedding of token types.", at_least(0)},
      {"lm-head-transform", &lm_head_transform, "Dense, GeLU, norm before the logits; a bias."},
      {"pooler", &pooler, "Dense and tanh on the first position, for no head."},
      {"binary-head", &binary_head, "Pooler and sentence order head."},
      {"num-classes", &num_classes, "Pooler and a head of so many classes.",
       between(0, kLargestWidth)},
      {"multichoice-head", &multichoice_head, "Pooler and a score for each choice."},
      {"qa-head", &qa_head, "Scores of where an answer begins and ends."},
  };
}

FieldList ModelConfig::shape_fields() {
  FieldList fields;
  for (auto& field : this->fields()) {
    if (field.name != "hidden-dropout" && field.name != "attention-dropout" &&
        field.name != "init-method-std" && field.name != "make-vocab-size-divisible-by") {
      fields.push_back(std::move(field));
    }
  }
  for (auto& field : family_fields()) fields.push_back(std::move(field));
  fields.push_back(
      {"vocab-size", &vocab_size, "True vocabulary size, without padding.", at_least(1)});
  return fields;
}

void ModelConfig::check_size(Problems& problems) const {
  const auto h = static_cast<double>(hidden_size);
  const double attention = 4 * h * static_cast<double>(num_attention_heads * head_size());
  const double mlp = 2 * h * static_cast<double>(ffn_hidden_size());
  const double parameters = static_cast<double>(num_layers) * (attention + mlp);
  constexpr double kMost = 1e15;
  if (parameters <= kMost) return;
  problems.add(
      "--num-layers {} of --hidden-size {} make a model of {:.2g} parameters, more than the "
      "{:.0g} that can be counted on; lower one of them",
      num_layers, hidden_size, parameters, kMost);
}

void ModelConfig::check(int64_t tensor_size, Problems& problems) const {
  const auto required = [&](const char* flag, int64_t value, const char* hint) {
    if (value <= 0) problems.add_missing(flag, hint);
    return value > 0;
  };
  const bool has_layers =
      required("num-layers", num_layers, "give the transformer layers, e.g. 12");
  bool sizes = required("hidden-size", hidden_size, "give the width of the model, e.g. 768");
  sizes = required("num-attention-heads", num_attention_heads,
                   "give a number that divides --hidden-size, e.g. 12") &&
          sizes;
  if (!sizes) return;
  if (has_layers) check_size(problems);
  if (!kv_channels_flag && hidden_size % num_attention_heads != 0) {
    problems.add(
        "--hidden-size {} is not divisible by --num-attention-heads {}; change one of them, or "
        "give the head size by --kv-channels",
        hidden_size, num_attention_heads);
  }
  if (num_attention_heads % tensor_size != 0) {
    problems.add(
        "--num-attention-heads {} is not divisible by --tensor-model-parallel-size {}; use a "
        "tensor size that divides the heads",
        num_attention_heads, tensor_size);
  }
  if (group_query_attention && num_attention_heads % num_query_groups_flag != 0) {
    problems.add(
        "--num-attention-heads {} is not divisible by --num-query-groups {}; use a number of "
        "groups that divides the heads",
        num_attention_heads, num_query_groups_flag);
  }
  if (group_query_attention && num_query_groups_flag % tensor_size != 0) {
    problems.add(
        "--num-query-groups {} is not divisible by --tensor-model-parallel-size {}; use a tensor "
        "size that divides the groups",
        num_query_groups_flag, tensor_size);
  }
  if (ffn_hidden_size() % tensor_size != 0) {
    problems.add(
        "--ffn-hidden-size {}{} is not divisible by --tensor-model-parallel-size {}; give a width "
        "that is",
        ffn_hidden_size(), ffn_hidden_size_flag ? "" : " (from --hidden-size)", tensor_size);
  }
  check_variants(problems);
}

void ModelConfig::check_variants(Problems& problems) const {
  if (position_embedding == PositionEmbedding::kRope && rotary_size() % 2 != 0) {
    problems.add(
        "--rotary-percent {} of a head of {} gives an odd size {}; rotary positions turn pairs",
        rotary_percent, head_size(), rotary_size());
  }
  if (position_embedding != PositionEmbedding::kRope && rotary_percent != 1.0) {
    problems.add(
        "--rotary-percent {} needs --position-embedding-type rope; leave it out, or give both",
        rotary_percent);
  }
  if (position_embedding != PositionEmbedding::kRope &&
      rope_scaling.type != RopeScalingType::kNone) {
    problems.add("--rope-scaling-type needs --position-embedding-type rope; give both, or neither");
  }
  rope_scaling.check(rotary_base, problems);
  if (!group_query_attention && num_query_groups_flag != 1) {
    problems.add("--num-query-groups {} needs --group-query-attention; leave it out, or give both",
                 num_query_groups_flag);
  }
  if (lm_head_transform && untie_embeddings_and_output_weights) {
    problems.add(
        "--untie-embeddings-and-output-weights: BERT's logits are tied to the embedding; leave it "
        "out");
  }
  if (static_cast<int>(swiglu) + static_cast<int>(squared_relu) + static_cast<int>(openai_gelu) >
      1) {
    problems.add("--swiglu, --squared-relu and --openai-gelu exclude each other; give at most one");
  }
}

}  // namespace megalith

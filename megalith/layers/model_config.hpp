// A transformer described as data: every variant is a field, none is a class.
//
// Flags keep upstream's names and defaults. Derived sizes are functions. Lives with the layers
// because they are built from it; models/gpt.hpp puts the layers together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "megalith/core/fields.hpp"
#include "megalith/layers/rotary.hpp"

namespace megalith {

enum class Normalization { kLayerNorm, kRmsNorm };
enum class PositionEmbedding { kLearnedAbsolute, kRope, kNone };

/// Largest --seq-length and --max-position-embeddings: positions are counted in 32 bits at places.
inline constexpr double kLongestSequence = 1 << 30;

struct ModelConfig {
  int64_t num_layers = 0;
  int64_t hidden_size = 0;
  std::optional<int64_t> ffn_hidden_size_flag;
  int64_t num_attention_heads = 0;
  std::optional<int64_t> kv_channels_flag;
  bool group_query_attention = false;
  int64_t num_query_groups_flag = 1;
  int64_t max_position_embeddings = 0;
  PositionEmbedding position_embedding = PositionEmbedding::kLearnedAbsolute;
  double rotary_base = 10000.0;
  double rotary_percent = 1.0;
  RopeScaling rope_scaling;
  Normalization normalization = Normalization::kLayerNorm;
  double norm_epsilon = 1e-5;
  bool swiglu = false;
  bool squared_relu = false;
  bool openai_gelu = false;
  bool disable_bias_linear = false;
  bool add_qkv_bias = false;
  bool add_proj_bias = false;
  bool qk_layernorm = false;
  bool untie_embeddings_and_output_weights = false;
  int64_t make_vocab_size_divisible_by = 128;
  bool residual_post_layernorm = false;  // the residual path starts behind the norm
  double hidden_dropout = 0.1;
  double attention_dropout = 0.1;
  double init_method_std = 0.02;
  int64_t vocab_size = 0;  // true size, without padding; from the tokenizer

  // What makes a BERT of it (become_bert). No flags of their own: the command says them.
  bool bidirectional = false;      // attention sees what comes later, too
  int64_t num_token_types = 0;     // rows of an embedding of token types; 0: none
  bool lm_head_transform = false;  // dense, GeLU, norm before the logits, and a bias on them
  bool pooler = false;             // dense and tanh on the first position, for no head
  bool binary_head = false;        // pooler and sentence order head
  // Heads of tasks, from fine-tuning or an import.
  int64_t num_classes = 0;        // pooler and classification_head of so many; 0: none
  bool multichoice_head = false;  // pooler and a score for each choice
  bool qa_head = false;           // where an answer begins and ends: two scores for each position

  /// BERT's variants: bidirectional, two token types, a transform in the language-model head, and
  /// pooler and sentence order head unless `with_binary_head` is false (--bert-no-binary-head).
  void become_bert(bool with_binary_head);
  bool has_task_head() const { return num_classes > 0 || multichoice_head || qa_head; }
  bool has_pooler() const { return pooler || binary_head || num_classes > 0 || multichoice_head; }
  /// Pooler and heads, by the names their parameters begin with: {"lm_head", "pooler",
  /// "binary_head"}. What a GPT has is none.
  std::vector<std::string> head_names() const;
  /// Which command trains it: "gpt" or "bert".
  const char* family() const { return bidirectional ? "bert" : "gpt"; }

  int64_t ffn_hidden_size() const;
  int64_t head_size() const;
  int64_t num_query_groups() const {
    return group_query_attention ? num_query_groups_flag : num_attention_heads;
  }
  int64_t rotary_size() const { return static_cast<int64_t>(double(head_size()) * rotary_percent); }
  bool qkv_bias() const { return !disable_bias_linear || add_qkv_bias; }
  bool proj_bias() const { return !disable_bias_linear || add_proj_bias; }
  /// vocab_size rounded up to a multiple of make_vocab_size_divisible_by x tensor_size
  /// (section 1.3).
  int64_t padded_vocab_size(int64_t tensor_size) const;
  /// Parameters of the whole model with a vocabulary of `vocab` rows.
  int64_t num_parameters(int64_t vocab) const;

  /// Everything but vocab_size, which has no flag of the model's own.
  FieldList fields();
  /// What become_bert sets, under the names of the copy in a checkpoint.
  FieldList family_fields();
  /// The fields that make the shape of the weights, for the copy in a checkpoint (vocab_size and
  /// family_fields included).
  FieldList shape_fields();
  /// Cross-checks, each with the values seen and what to try.
  void check(int64_t tensor_size, Problems& problems) const;

 private:
  void check_size(Problems& problems) const;
  void check_variants(Problems& problems) const;
};

}  // namespace megalith

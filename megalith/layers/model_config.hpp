// A transformer described as data: every variant is a field, none is a class.
//
// Flags keep upstream's names and defaults. Derived sizes are functions. Lives with the layers
// because they are built from it; models/gpt.hpp puts the layers together.
#pragma once

#include <cstdint>
#include <optional>

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
  double hidden_dropout = 0.1;
  double attention_dropout = 0.1;
  double init_method_std = 0.02;
  int64_t vocab_size = 0;  // true size, without padding; from the tokenizer

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
  /// The fields that make the shape of the weights, for the copy in a checkpoint (vocab_size
  /// included).
  FieldList shape_fields();
  /// Cross-checks, each with the values seen and what to try.
  void check(int64_t tensor_size, Problems& problems) const;

 private:
  void check_size(Problems& problems) const;
  void check_variants(Problems& problems) const;
};

}  // namespace megalith

#include "models/bert_names.hpp"

#include <fmt/format.h>

namespace megalith::testing {

ModelConfig original_bert(int64_t hidden_size, int64_t num_heads, int64_t num_positions,
                          int64_t vocab_size, bool with_binary_head) {
  ModelConfig config;
  config.num_layers = kOriginalBertLayers;
  config.hidden_size = hidden_size;
  config.num_attention_heads = num_heads;
  config.max_position_embeddings = num_positions;
  config.norm_epsilon = 1e-12;
  config.hidden_dropout = config.attention_dropout = 0;
  config.vocab_size = vocab_size;
  config.residual_post_layernorm = true;
  config.become_bert(with_binary_head);
  return config;
}

TensorMap with_our_names(const TensorMap& theirs, int64_t num_layers, const std::string& prefix) {
  TensorMap ours;
  const auto take = [&](const std::string& name, const std::string& their_name) {
    for (const char* kind : {".weight", ".bias"}) {
      const auto found = theirs.find(prefix + their_name + kind);
      if (found != theirs.end()) ours[name + kind] = found->second;
    }
  };
  take("embedding.word_embeddings", "bert.embeddings.word_embeddings");
  take("embedding.position_embeddings", "bert.embeddings.position_embeddings");
  take("embedding.tokentype_embeddings", "bert.embeddings.token_type_embeddings");
  take("encoder.layers.0.input_layernorm", "bert.embeddings.LayerNorm");
  for (int64_t layer = 0; layer < num_layers; ++layer) {
    const auto name = fmt::format("encoder.layers.{}.", layer);
    const auto their = fmt::format("bert.encoder.layer.{}.", layer);
    const bool is_last = layer + 1 == num_layers;
    for (const char* part : {"query", "key", "value"}) {
      take(name + "self_attention." + part, their + "attention.self." + part);
    }
    take(name + "self_attention.linear_proj", their + "attention.output.dense");
    take(name + "pre_mlp_layernorm", their + "attention.output.LayerNorm");
    take(name + "mlp.linear_fc1", their + "intermediate.dense");
    take(name + "mlp.linear_fc2", their + "output.dense");
    take(is_last ? "encoder.final_layernorm"
                 : fmt::format("encoder.layers.{}.input_layernorm", layer + 1),
         their + "output.LayerNorm");
  }
  take("pooler.dense", "bert.pooler.dense");
  take("lm_head.dense", "cls.predictions.transform.dense");
  take("lm_head.layernorm", "cls.predictions.transform.LayerNorm");
  take("lm_head", "cls.predictions");
  take("binary_head", "cls.seq_relationship");
  take("classification_head", "classifier");
  take("multichoice_head", "classifier");
  take("qa_head", "qa_outputs");
  return ours;
}

}  // namespace megalith::testing

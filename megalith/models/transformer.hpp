// Embeddings, layers and final norm: what every model has, whatever its heads.
//
// Built from a ModelConfig for all layers or a range of them with optional ends. Tokens come in as
// [B, S]; activations are [S, B, H]. Positions and masks come with the batch, never from S. Heads
// and losses are the models': gpt.hpp, bert.hpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "megalith/layers/transformer_layer.hpp"
#include "megalith/layers/vocab_parallel.hpp"

namespace megalith {

/// Which part of the model this rank holds.
struct LayerRange {
  int64_t first = 0;
  int64_t last = 0;  // one past
  bool embedding = true;
  bool output = true;
};

/// Activation recomputation (--recompute-*).
struct RecomputePlan {
  enum class Kind { kNone, kSelective, kUniform, kBlock } kind = Kind::kNone;
  int64_t num_layers = 1;  // uniform: layers a chunk; block: how many layers from the first
};

/// Inputs of one forward.
struct ModelInput {
  at::Tensor tokens;             // [B, S] int64
  at::Tensor position_ids;       // [B, S] int64
  at::Tensor segments;           // [B, S] or undefined: attention stays within equal numbers
  at::Tensor token_types = {};   // [B, S] int64, where the model has types
  at::Tensor padding_mask = {};  // [B, S] bool or undefined: false where nobody looks
};

class Transformer {
 public:
  /// Parameters are named embedding.* and `stack`.*; `root` outlives no constructor.
  Transformer(const ParameterBuilder& root, const std::string& stack, const ModelConfig& config,
              const Group& tensor);

  /// -> hidden states after the final norm [S, B, H]. Communicates: tensor, both.
  at::Tensor forward(const ModelInput& input, LayerContext& context,
                     const RecomputePlan& plan) const;
  /// [V/t, H], for heads that are tied to it.
  const at::Tensor& word_embeddings() const { return word_embeddings_->weight(); }

 private:
  at::Tensor embed(const ModelInput& input, const LayerContext& context) const;
  at::Tensor run_layers(at::Tensor hidden, const LayerContext& context,
                        const RecomputePlan& plan) const;

  ModelConfig config_;
  Group tensor_;
  LayerRange range_;
  std::optional<VocabParallelEmbedding> word_embeddings_;
  at::Tensor position_embeddings_;  // [P, H] or undefined
  at::Tensor type_embeddings_;      // [types, H] or undefined
  std::vector<TransformerLayer> layers_;
  Norm final_norm_;
};

}  // namespace megalith

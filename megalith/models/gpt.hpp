// The GPT decoder: embedding, layers, final norm, tied logits over the split vocabulary.
//
// Built from a ModelConfig for all layers or a range of them with optional ends. Tokens come in as
// [B, S]; activations are [S, B, H]. Positions, masks and loss weights come with the batch, never
// from S. No optimizer and no loop here: training/trainer.hpp.
#pragma once

#include <ATen/core/Tensor.h>

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
  at::Tensor tokens;        // [B, S] int64
  at::Tensor position_ids;  // [B, S] int64
  at::Tensor segments;      // [B, S] or undefined: attention stays within equal numbers
};

/// What the model says about tokens.
struct TokenScores {
  at::Tensor losses;     // [N] cross entropy in fp32 (double)
  at::Tensor likeliest;  // [N] int64, the id of the largest logit; undefined when not asked for
};

class GptModel {
 public:
  /// `seed` draws the initial weights; without one they are for load_weights() to fill.
  GptModel(const ModelConfig& config, const ProcessGroups& groups, at::ScalarType dtype,
           at::Device device, std::optional<int64_t> seed);

  /// -> hidden states after the final norm [S, B, H]. Communicates: tensor, both.
  at::Tensor hidden_states(const ModelInput& input, LayerContext& context,
                           const RecomputePlan& plan = {}) const;
  /// hidden [S, B, H] -> logits [S, B, V/t] with columns of padding. Communicates: tensor,
  /// backward.
  at::Tensor logits(const at::Tensor& hidden) const;
  /// Cross entropy of every token [S, B] in fp32 (double); labels [B, S]. Communicates: tensor,
  /// both.
  at::Tensor token_losses(const ModelInput& input, const at::Tensor& labels, LayerContext& context,
                          const RecomputePlan& plan = {}) const;

  /// Scores `labels` [N] against some rows of the hidden states, hidden [N, H]: the logits of no
  /// other token are made, N·V/t numbers. Under no_grad. Communicates: tensor.
  TokenScores score(const at::Tensor& hidden, const at::Tensor& labels, bool with_likeliest) const;

  const ModelConfig& config() const { return config_; }
  ParameterList& parameters() { return parameters_; }
  const ParameterList& parameters() const { return parameters_; }
  at::ScalarType dtype() const { return dtype_; }
  at::Device device() const { return device_; }

 private:
  at::Tensor embed(const ModelInput& input, const LayerContext& context) const;
  at::Tensor run_layers(at::Tensor hidden, const LayerContext& context,
                        const RecomputePlan& plan) const;

  ModelConfig config_;
  Group tensor_;
  at::ScalarType dtype_;
  at::Device device_;
  LayerRange range_;
  ParameterList parameters_;
  std::optional<VocabParallelEmbedding> word_embeddings_;
  at::Tensor position_embeddings_;  // [P, H] or undefined
  std::vector<TransformerLayer> layers_;
  Norm final_norm_;
  at::Tensor output_weight_;  // [V/t, H]; the embedding's when tied
  VocabRange vocab_range_;
};

}  // namespace megalith

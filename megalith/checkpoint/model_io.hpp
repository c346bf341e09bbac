// A model out of a checkpoint: its description, its precision, its weights.
//
// What every reader of trained models shares: generation, evaluation, tools. The state of a
// training run (optimizer, progress) is training/training_state.hpp's. No random weight survives:
// loading fills every parameter or throws.
#pragma once

#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/checkpoint/model_source.hpp"
#include "megalith/models/model.hpp"

namespace megalith {

/// The model the checkpoint describes, which starts from zeros. Throws UsageError when it describes
/// none.
ModelConfig model_config_from(const Checkpoint& checkpoint);

/// The same for what only a GPT can do. Throws UsageError when it describes another.
ModelConfig gpt_config_from(const Checkpoint& checkpoint);

/// The type the weights are stored in; where an import brought several, that of most elements.
at::ScalarType weights_dtype(const Checkpoint& checkpoint);

/// Ids the model has when it is used with a tokenizer of so many: the tokenizer's, or those of an
/// imported model, whose embedding may be larger than its tokenizer (Qwen2's is, rounded up).
int64_t model_vocab_size(int64_t tokenizer_size, const Checkpoint& checkpoint);

/// A mistake when the checkpoint's model has another number of ids than that.
void check_tokenizer_size(int64_t tokenizer_size, const Checkpoint& checkpoint, Problems& problems);

/// The parameters as the checkpoint names them.
std::vector<CheckpointTensor> weights_of(const Model& model);

/// Fills all weights, converted to the model's type, whatever tensor size saved them. Throws
/// UsageError when something is missing or has another shape; nothing is filled then.
void load_weights(const Checkpoint& checkpoint, Model& model);

/// The same out of somebody's files, without a checkpoint of ours between.
at::ScalarType weights_dtype(const ModelSource& source);
void load_weights(const ModelSource& source, Model& model);

/// The pooler and heads of two models that share a body.
struct HeadMatch {
  std::vector<std::string> loaded, drawn, unused;  // names as in ModelConfig::head_names()
  /// "pooler and binary_head are not in it and start from random weights; its lm_head is not used",
  /// or "" when the two have the same.
  std::string text() const;
};

/// Which heads of `model` the checkpoint's model has: of the same name and, for classes, number.
HeadMatch match_heads(const Checkpoint& checkpoint, const ModelConfig& model);

/// As load_weights, for a new run from a checkpoint whose model has other heads: those that it does
/// not have keep what the model was made with, which must have been drawn from a seed.
HeadMatch load_body(const Checkpoint& checkpoint, Model& model);

}  // namespace megalith

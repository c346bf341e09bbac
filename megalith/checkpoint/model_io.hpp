// A model out of a checkpoint: its description, its precision, its weights.
//
// What every reader of trained models shares: generation, evaluation, tools. The state of a
// training run (optimizer, progress) is training/training_state.hpp's. No random weight survives:
// loading fills every parameter or throws.
#pragma once

#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/models/gpt.hpp"

namespace megalith {

/// The model the checkpoint describes, which starts from zeros. Throws UsageError when it describes
/// none.
ModelConfig model_config_from(const Checkpoint& checkpoint);

/// The type the weights are stored in; where an import brought several, that of most elements.
at::ScalarType weights_dtype(const Checkpoint& checkpoint);

/// Ids the model has when it is used with a tokenizer of so many: the tokenizer's, or those of an
/// imported model, whose embedding may be larger than its tokenizer (Qwen2's is, rounded up).
int64_t model_vocab_size(int64_t tokenizer_size, const Checkpoint& checkpoint);

/// A mistake when the checkpoint's model has another number of ids than that.
void check_tokenizer_size(int64_t tokenizer_size, const Checkpoint& checkpoint, Problems& problems);

/// The parameters as the checkpoint names them.
std::vector<CheckpointTensor> weights_of(const GptModel& model);

/// Fills all weights, converted to the model's type, whatever tensor size saved them. Throws
/// UsageError when something is missing or has another shape; nothing is filled then.
void load_weights(const Checkpoint& checkpoint, GptModel& model);

}  // namespace megalith

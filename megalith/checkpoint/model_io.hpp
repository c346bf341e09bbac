// A model out of a checkpoint: its description, its precision, its weights.
//
// What every reader of trained models shares: generation, evaluation, tools. The state of a
// training run (optimizer, progress) is training/training_state.hpp's. No random weight survives:
// loading fills every parameter or throws.
#pragma once

#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/models/model.hpp"

namespace megalith {

/// The model the checkpoint describes. Throws UsageError when it describes none.
ModelConfig model_config_from(const Checkpoint& checkpoint);

/// The type the weights are stored in.
at::ScalarType weights_dtype(const Checkpoint& checkpoint);

/// The parameters as the checkpoint names them.
std::vector<CheckpointTensor> weights_of(const Model& model);

/// Fills all weights, converted to the model's type, whatever tensor size saved them. Throws
/// UsageError when something is missing or has another shape; nothing is filled then.
void load_weights(const Checkpoint& checkpoint, Model& model);

}  // namespace megalith

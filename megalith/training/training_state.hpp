// A run's state in a checkpoint: weights, optimizer, loss scale, progress and configuration.
//
// What is stored for each tensor and how layouts change is checkpoint/checkpoint.hpp's; this file
// says which tensors and numbers make a training run.
#pragma once

#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/training/trainer.hpp"

namespace megalith {

/// Writes iteration `progress.iteration` to --save. Communicates: world, every rank must call.
void save_training_state(RunConfig& config, const ProcessGroups& groups, Model& model,
                         Optimizer& optimizer, const LossScaler& loss_scaler,
                         const TrainingProgress& progress);

/// Fills model, optimizer and loss scaler from a checkpoint that fits the run (resume_settings.hpp)
/// and returns where it stood (zeros with --finetune). The precision may differ: main parameters
/// are then taken from the stored ones, the exact weights. Throws UsageError, with nothing filled.
TrainingProgress load_training_state(RunConfig& config, const Checkpoint& checkpoint, Model& model,
                                     Optimizer& optimizer, LossScaler& loss_scaler);

}  // namespace megalith

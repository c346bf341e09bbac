// What the flags say beside what a checkpoint says: the shape taken over, contradictions found.
//
// Before a device is touched: --use-checkpoint-args fills the flags that were not given, and
// review_settings lists where the two differ. A model of another shape is a mistake; any other
// difference is the user's choice and is told once. The tensors are training_state.hpp's.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/training/run_config.hpp"

namespace megalith {

/// The checkpoint that --load names, or nothing when the run starts anew: without --load, or with
/// --load-if-exists where there never was one. Reads the manifest only. Throws UsageError.
std::optional<Checkpoint> find_training_checkpoint(const CheckpointConfig& config);

/// --use-checkpoint-args: takes the model's shape and the sequence length, and the tokenizer where
/// --tokenizer-type is not given, from the checkpoint, except for flags that `given` knows; those
/// that contradict the shape go to `problems`. Does nothing without the flag.
void take_checkpoint_args(RunConfig& config, const std::function<bool(const std::string&)>& given,
                          Problems& problems);

/// The same from a checkpoint that was found, except for the heads: what to start a run of a task
/// from.
void take_body_args(RunConfig& config, const Checkpoint& checkpoint,
                    const std::function<bool(const std::string&)>& given, Problems& problems);

/// One setting that differs.
struct SettingConflict {
  std::string name, checkpoint, flags, used;
};

struct SettingsReview {
  std::vector<std::string> mistakes;  // the checkpoint does not fit the run
  std::vector<SettingConflict> conflicts;
  bool masks_change = false;  // dropout is on and its streams are keyed by another layout
};

/// Compares what both say. `num_threads` is this rank's. The vocabulary size must be known.
SettingsReview review_settings(RunConfig& config, const Layout& layout, int64_t num_threads,
                               const Checkpoint& checkpoint);

/// Throws one UsageError with all mistakes of a review, or returns.
void raise_mistakes(const SettingsReview& review, const Checkpoint& checkpoint);

/// The lines that tell a review's conflicts, or "".
std::string conflicts_text(const SettingsReview& review, const Checkpoint& checkpoint);

}  // namespace megalith

// What a run is about beside its loop: where its micro-batches come from, what is measured in
// between and at the end.
//
// The trainer (trainer.hpp) owns step, checkpoints, log and the wish to stop; a task owns data and
// evaluation. pretraining_task.hpp is one, tasks/finetune/finetune_task.hpp the other.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "megalith/training/batch_tensors.hpp"
#include "megalith/training/metrics.hpp"
#include "megalith/training/run_config.hpp"

namespace megalith {

/// What the trainer lends its task, for as long as the trainer lives.
struct TaskRun {
  const RunConfig& config;  // resolved, with the size of the vocabulary
  Distributed& distributed;
  const Tokenizer& tokenizer;
  const BatchSizeSchedule& batch;
  int64_t total_iterations = 0;
};

class TrainingTask {
 public:
  virtual ~TrainingTask() = default;

  /// Opens the data. Communicates: world, every rank must call.
  virtual void open(const TaskRun& run) = 0;

  /// Gives this rank's next micro-batch; throws RunError when there is none.
  using BatchSource = std::function<BatchTensors()>;
  /// The training batches of a run that has consumed so many samples, over all replicas.
  virtual BatchSource training_batches(int64_t consumed_samples) const = 0;

  /// Whether there is something to validate on.
  virtual bool validates() const = 0;
  /// Communicates: world, every rank must call.
  virtual Evaluation validate(const Model& model, int64_t iteration) = 0;
  /// After the last iteration, its save and its validation; what it returns is told as the test.
  /// Communicates: world, every rank must call.
  virtual std::optional<Evaluation> finish(const Model& model, int64_t iteration) = 0;
};

}  // namespace megalith

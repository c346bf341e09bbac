// The training loop: batch, forward and backward, clip, update; a line; then what only watches.
//
// Owns model and optimizer of one rank; its task (training_task.hpp) has the data and evaluates,
// every eval-interval iterations and at the end. Stops at the end, at exit-interval, after
// exit-duration, or when `stop_signal` is set on any rank; all ranks stop after the same iteration,
// and save when a folder is given. The save folder is this run's alone while the trainer lives.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "megalith/optimizer/gradient_buffer.hpp"
#include "megalith/training/metrics.hpp"
#include "megalith/training/run_config.hpp"
#include "megalith/training/training_task.hpp"

namespace megalith {

class Checkpoint;
class SaveFolder;

/// What a resumed run must know beside tensors.
struct TrainingProgress {
  int64_t iteration = 0;
  int64_t consumed_samples = 0;
  int64_t schedule_samples =
      0;  // samples of the steps that updated: where the learning rate stands
  int64_t skipped_iterations = 0;
  int64_t validated_iteration = 0;  // of the last validation
  std::string hugging_face = {};    // what an import recorded, as JSON; goes along when saving
};

class Trainer {
 public:
  /// Builds model and optimizer, opens the data, loads the checkpoint. `config` is resolved and
  /// checked. Communicates: world, every rank must construct. `task` must outlive it.
  Trainer(RunConfig config, TrainingTask& task, Distributed& distributed,
          const std::atomic<bool>& stop_signal);
  ~Trainer();

  /// Trains to the end (or a stop), evaluates, saves. Communicates: world.
  void run();
  /// Whether the run came to its end: it was not stopped before.
  bool is_complete() const { return progress_.iteration >= total_iterations_; }

 private:
  void find_checkpoint();
  void resume();
  void open_metrics();
  /// `is_last`: nothing is trained after it, so its failure ends the run whatever the flags say.
  void save(bool is_last);
  void announce();

  bool train_step();  // true when the run should stop after this iteration
  /// Over this rank's micro-batches: the parts of the loss (loss_sums.hpp), tokens with padding.
  struct BatchSums {
    at::Tensor losses;
    int64_t positions, sequences;
  };
  BatchSums forward_backward(int64_t num_micro_batches, double loss_scale);
  void validate();
  void check_finite(const IterationRecord& record, const std::string& bad_parameter) const;

  RunConfig config_;
  TrainingTask& task_;
  Distributed& distributed_;
  const ProcessGroups& groups_;
  const std::atomic<bool>& stop_signal_;
  std::unique_ptr<SaveFolder> save_folder_;
  std::unique_ptr<Checkpoint> checkpoint_;  // to go on from; gone when it is loaded
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<GradientBuffer> gradients_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<ParameterSchedule> schedule_;
  std::unique_ptr<BatchSizeSchedule> batch_schedule_;
  LossScaler loss_scaler_;
  RecomputePlan recompute_plan_;
  TrainingTask::BatchSource next_batch_;  // while it trains
  std::unique_ptr<Metrics> metrics_;
  TrainingProgress progress_;
  int64_t total_iterations_ = 0;
  int64_t last_saved_ = -1;
  std::string start_line_;  // where the run goes on from
  std::chrono::steady_clock::time_point started_;
};

}  // namespace megalith

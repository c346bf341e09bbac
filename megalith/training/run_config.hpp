// Everything a training run is told, and every rule that ties the parts together.
//
// Each module's struct has its own field listing; this file joins them into the sections of --help,
// the run file and the copy in a checkpoint, and holds the cross-checks, which are all made before
// any device is touched and all reported at once.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <utility>
#include <vector>

#include "megalith/data/build_datasets.hpp"
#include "megalith/data/data_config.hpp"
#include "megalith/layers/model_config.hpp"
#include "megalith/models/model.hpp"
#include "megalith/optimizer/batch_size.hpp"
#include "megalith/optimizer/learning_rate.hpp"
#include "megalith/optimizer/loss_scaler.hpp"
#include "megalith/optimizer/optimizer.hpp"
#include "megalith/parallel/distributed.hpp"
#include "megalith/planner/plan.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith {

enum class RecomputeGranularity { kNone, kFull, kSelective };
enum class RecomputeMethod { kUniform, kBlock };

/// How long the run is and how its steps are made.
struct TrainingConfig {
  int64_t seq_length = 0;
  std::optional<int64_t> train_iters, train_samples;
  int64_t seed = 1234;
  std::optional<int64_t> exit_interval;
  std::optional<double> exit_duration_minutes;
  bool skip_train = false;
  bool bf16 = false;
  bool fp16 = false;
  RecomputeGranularity recompute_granularity = RecomputeGranularity::kNone;
  bool recompute_activations = false;  // upstream's short-hand for selective
  RecomputeMethod recompute_method = RecomputeMethod::kUniform;
  int64_t recompute_num_layers = 1;
  std::optional<int64_t> ddp_bucket_size;

  FieldList fields();
  at::ScalarType compute_type() const;
  RecomputePlan recompute_plan() const;
};

/// Validation, log lines and metrics.
struct LoggingConfig {
  int64_t eval_interval = 1000;
  int64_t eval_iters = 100;
  int64_t log_interval = 100;
  bool log_throughput = false;
  bool log_params_norm = false;
  std::optional<std::string> metrics_file;
  bool no_check_for_nan = false;

  FieldList fields();
};

enum class OnSaveFailure { kStop, kContinue };

struct CheckpointConfig {
  std::optional<std::string> save, load;
  std::optional<int64_t> save_interval, save_retain_interval, keep_last, ckpt_step;
  OnSaveFailure on_save_failure = OnSaveFailure::kStop;
  bool no_save_optim = false;
  bool no_load_optim = false;
  bool finetune = false;
  bool load_if_exists = false;
  bool use_checkpoint_args = false;

  FieldList fields();
  /// Settings that would have no effect, or contradict each other.
  void check(Problems& problems) const;
};

struct RunConfig {
  ModelConfig model;
  TokenizerConfig tokenizer;
  DataConfig data;
  BertDataConfig bert;
  TrainingConfig training;
  BatchSizeConfig batch;
  OptimizerConfig optimizer;
  LearningRateConfig learning_rate;
  LossScaleConfig loss_scale;
  DistributedConfig distributed;
  LoggingConfig logging;
  CheckpointConfig checkpoint;
  /// Of a fine-tuning run: the flags of its task (tasks/finetune/task_config.hpp), in the place of
  /// the sections on pretraining data. Their struct must outlive this one.
  std::vector<std::pair<std::string, FieldList>> task_sections;

  /// What `megalith pretrain MODEL` says: "gpt" or "bert"; BERT's variants as --bert-no-binary-head
  /// leaves them. To be called before everything below.
  void choose_model(const std::string& family);
  bool is_bert() const { return model.bidirectional; }
  bool is_finetuning() const { return !task_sections.empty(); }

  /// Titled groups of flags, in the order of --help.
  std::vector<std::pair<std::string, FieldList>> sections();
  /// {section title: {flag: value}}, the resolved configuration.
  nlohmann::json to_json();

  /// Fills what is derived from other flags (positions from the sequence length, the vocabulary of
  /// mock data), then checks every rule against `environment`, but not whether this machine has
  /// the device. Opens no data.
  void resolve_and_check(const LaunchEnvironment& environment, Problems& problems);

  /// The same for the planner; the vocabulary size must be known.
  PlanRequest plan_request(int64_t world_size) const;
  /// Of the whole run; train-samples become iterations by the batch size schedule.
  int64_t train_iterations(int64_t data_size) const;
};

}  // namespace megalith

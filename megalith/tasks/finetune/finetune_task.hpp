// Fine-tuning as the trainer sees it: labelled examples, epochs of them, scores on the dev data
// after each, predictions and scores in files at the end.
//
// The model is BERT with the head of the task; step, checkpoints and log are the trainer's. Written
// by rank 0, each file whole or not at all: predictions as docs/finetuning.md lists them,
// metrics.json and configuration.json.
#pragma once

#include <nlohmann/json.hpp>

#include "megalith/tasks/finetune/task_predictions.hpp"
#include "megalith/training/training_task.hpp"

namespace megalith {

struct FinetuneData {
  std::unique_ptr<TaskExamples> train, valid, test;  // test may be null
};

class FinetuneTask final : public TrainingTask {
 public:
  /// `data` must outlive the task.
  FinetuneTask(TaskConfig config, const FinetuneData& data);

  void open(const TaskRun& run) override;
  BatchSource training_batches(int64_t consumed_samples) const override;
  bool validates() const override { return true; }
  Evaluation validate(const Model& model, int64_t iteration) override;
  std::optional<Evaluation> finish(const Model& model, int64_t iteration) override;

  /// What metrics.json says; null before finish().
  const nlohmann::ordered_json& metrics() const { return metrics_; }

 private:
  TaskExamples::Logits predict(const Model& model, const TaskExamples& examples) const;
  void write_files(const TaskConfig& test_config, const TaskExamples::Logits& test_logits) const;

  TaskConfig config_;
  const FinetuneData& data_;
  std::optional<TaskRun> run_;
  int32_t pad_id_ = 0;
  TaskExamples::Logits valid_logits_;
  int64_t valid_iteration_ = -1;
  nlohmann::ordered_json valid_scores_, metrics_;
};

/// Gives the model the head that the examples ask for, in the place of those it was pretrained
/// with.
void set_task_head(ModelConfig& model, TaskHead head, int64_t num_outputs);

}  // namespace megalith

// Pretraining as the trainer sees it: an indexed dataset in three splits, losses and perplexities.
//
// Validation runs --eval-iters batches of the validation split and goes on there the next time; the
// test runs once, at the end.
#pragma once

#include <memory>

#include "megalith/data/build_datasets.hpp"
#include "megalith/training/training_task.hpp"

namespace megalith {

class BatchLoader;

class PretrainingTask final : public TrainingTask {
 public:
  PretrainingTask();
  ~PretrainingTask() override;

  void open(const TaskRun& run) override;
  BatchSource training_batches(int64_t consumed_samples) const override;
  bool validates() const override;
  Evaluation validate(const Model& model, int64_t iteration) override;
  std::optional<Evaluation> finish(const Model& model, int64_t iteration) override;

 private:
  std::unique_ptr<BatchLoader> make_loader(Split split, int64_t consumed) const;
  Evaluation evaluate(const Model& model, BatchLoader& loader) const;

  std::optional<TaskRun> run_;
  Datasets datasets_;
  std::unique_ptr<BatchLoader> valid_loader_;
};

}  // namespace megalith

// A task's examples as batches for the model, and the order in which they are trained on.
//
// The order of an epoch is a permutation drawn from (seed, epoch) alone, so that every layout sees
// the same global batches. What does not fill a global batch at the end of an epoch is left out of
// it, as upstream's loader does.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "megalith/tasks/finetune/task_examples.hpp"
#include "megalith/training/batch_tensors.hpp"

namespace megalith {

/// How rows are filled up: to `length`, or (0) to the longest of the batch, in steps of eight
/// places up to `longest`.
struct Padding {
  int32_t id = 0;
  int64_t length = 0, longest = 0;
};

/// The rows of these examples: input [rows, length], labels as the model's losses take them
/// (undefined when an example has none).
BatchTensors example_batch(const TaskExamples& examples, std::span<const size_t> indices,
                           const Padding& padding, at::Device device);

class EpochOrder {
 public:
  EpochOrder(int64_t num_examples, int64_t global_batch, int64_t seed)
      : num_examples_(num_examples), global_batch_(global_batch), seed_(seed) {}

  /// Whole global batches of an epoch.
  int64_t steps_per_epoch() const { return num_examples_ / global_batch_; }
  /// The examples of one micro-batch of a data rank, of a run that has consumed so many samples
  /// over all replicas.
  std::vector<size_t> micro_batch(int64_t consumed, int64_t micro_batch_size, int64_t data_rank);
  /// Throws UsageError when so many samples are no whole number of global batches.
  void check_position(int64_t consumed) const;

 private:
  const std::vector<size_t>& permutation(int64_t epoch);

  int64_t num_examples_, global_batch_, seed_;
  int64_t epoch_ = -1;
  std::vector<size_t> permutation_;  // of epoch_
};

}  // namespace megalith

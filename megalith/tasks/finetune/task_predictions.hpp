// What a fine-tuned model says of every example: the forward passes, shared among the data ranks.
//
// Every example is in it once, whatever the layout and the batch; its logits depend on the example
// and the weights (within the rounding of the compute type), for padding is hidden.
#pragma once

#include "megalith/models/bert.hpp"
#include "megalith/tasks/finetune/example_batches.hpp"

namespace megalith {

struct PredictionOptions {
  int64_t micro_batch_size = 8;  // examples of a forward on each data rank
  int32_t pad_id = 0;
  int64_t seq_length = 0;  // no row is longer
};

/// The logits of every row as TaskExamples::score() takes them, the same on every rank.
/// Communicates: tensor and data, every rank must call with the same arguments.
TaskExamples::Logits predict_examples(const BertModel& model, const ProcessGroups& groups,
                                      const TaskExamples& examples,
                                      const PredictionOptions& options);

}  // namespace megalith

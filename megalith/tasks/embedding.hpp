// What BERT says of texts: the hidden states of every token, or one vector a text.
//
// Rows go through the model in batches of like length, whose make-up depends neither on the layout
// nor on the rank; data ranks take them in turn, and results stand in the order of the rows. So a
// row's numbers are the same bits on any number of data ranks. Heads and pooler have no part in it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "megalith/models/bert.hpp"
#include "megalith/parallel/process_groups.hpp"
#include "megalith/tasks/finetune/features.hpp"

namespace megalith {

enum class Pooling {
  kNone,  // the hidden states of all tokens
  kCls,   // that of the first, [CLS]; not what the pooler makes of it
  kMean   // the mean over the tokens, [CLS] and [SEP] included, padding left out
};

struct EmbeddingOptions {
  Pooling pooling = Pooling::kMean;
  int64_t micro_batch_size = 32;  // rows that go through the model together on each data rank
  int32_t pad_id = 0;
  /// Called after every round of batches with the number of rows that all ranks have done.
  std::function<void(int64_t done, int64_t all)> on_progress = {};
};

struct Embeddings {
  at::Tensor values;  // [N, H], or [N, S, H] with zeros in the padding; fp32 on the CPU
  at::Tensor mask;    // [N, S] uint8, 1 where a row has a token; with Pooling::kNone
};

/// Of all rows (none of them empty), on world rank 0; undefined tensors elsewhere. S is the longest
/// row. Throws RunError when a value is not finite. Communicates: tensor and data, every rank must
/// call with the same arguments.
Embeddings embed(const BertModel& model, const ProcessGroups& groups,
                 const std::vector<TokenFeatures>& rows, const EmbeddingOptions& options);

}  // namespace megalith

// A tiny BERT in its variants, a fixed batch with padding, and one step of it on any layout.
//
// The step is the least a trainer does, as in tiny_gpt.hpp: each part of the loss is divided by its
// count over the whole batch.
#pragma once

#include <utility>
#include <vector>

#include "megalith/models/bert.hpp"
#include "models/tiny_gpt.hpp"

namespace megalith::testing {

/// BERT with 2 layers, 8 heads of size 2, vocabulary 45, both heads, no dropout.
ModelConfig tiny_bert();
/// With the original norm order, without sentence order head, with tanh GeLU, RMSNorm and so on.
std::vector<std::pair<std::string, ModelConfig>> tiny_bert_variants();

/// Four sequences of nine places, one of them full, with masked tokens in all.
struct TinyBertBatch {
  ModelInput input;
  Targets targets;
};
TinyBertBatch tiny_bert_batch();
/// The rows of this data rank, with its predicted places.
TinyBertBatch share_of(const TinyBertBatch& batch, const Group& data);

struct BertStepResult {
  std::vector<at::Tensor> losses;  // by part, mean over the whole batch
  TensorMap gradients;             // of global tensors
};

/// One forward and backward on layout.world_size() thread ranks from random_globals.
BertStepResult run_bert_step(const ModelConfig& config, const Layout& layout,
                             const TinyBertBatch& batch, const StepOptions& options = {});

}  // namespace megalith::testing

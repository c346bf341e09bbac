// Tiny GPTs in every variant, a fixed batch, and one step of them on any layout.
//
// The step is the least a trainer does (forward, loss over the global batch, backward, sum over the
// data ranks), written out here so that the model's tests need no trainer.
#pragma once

#include <utility>
#include <vector>

#include "megalith/models/gpt.hpp"
#include "support/global_tensors.hpp"
#include "support/ranks.hpp"

namespace megalith::testing {

/// GPT-2 with 2 layers, 8 heads of size 2, vocabulary 45 (not a multiple of anything), no dropout.
ModelConfig tiny_gpt2();
/// Every variant that is a field of ModelConfig, with its name for messages.
std::vector<std::pair<std::string, ModelConfig>> tiny_variants();

/// Four sequences of nine tokens, with a loss mask that is not all ones.
struct TinyBatch {
  at::Tensor tokens, labels, position_ids, loss_mask;  // [4, 9]
  at::Tensor segments = {};                            // or undefined
};
TinyBatch tiny_batch(const ModelConfig& config);
/// The batch with documents that end inside the sequences: attention and positions start anew.
TinyBatch tiny_batch_of_documents(const ModelConfig& config);

struct StepOptions {
  RecomputePlan recompute = {};
  bool training = false;  // dropout
  at::ScalarType dtype = at::kDouble;
  double weight_scale = 0.3;
  bool over_gloo = false;
  at::Device device = at::kCPU;  // CUDA on one rank
};

struct StepResult {
  at::Tensor loss;                                         // mean over the batch's unmasked tokens
  at::Tensor token_losses;                                 // [S, 4], of all data ranks
  TensorMap gradients;                                     // of global tensors
  std::vector<Traffic> forward_traffic, backward_traffic;  // by rank; of the model alone
};

/// What a step does with gradients of replicas and of copies. Communicates: data, tensor.
void sum_gradients(ParameterList& parameters, const ProcessGroups& groups);

/// One forward and backward on layout.world_size() thread ranks from random_globals.
StepResult run_step(const ModelConfig& config, const Layout& layout, const TinyBatch& batch,
                    const StepOptions& options = {});

/// Rows of this data rank.
TinyBatch share_of(const TinyBatch& batch, const Group& data);
TinyBatch moved(TinyBatch batch, at::Device device);

}  // namespace megalith::testing

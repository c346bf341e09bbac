// What a configuration costs, by arithmetic alone: parameters, groups, memory of the fullest rank.
//
// Needs no process, no device and no LibTorch call. The memory is what this program allocates, item
// by item (activations after Korthikanti et al. 2022, table 2, for the tensors kept here); measured
// against it in docs/log.md.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "megalith/layers/model_config.hpp"
#include "megalith/parallel/topology.hpp"

namespace megalith {

struct PlanRequest {
  ModelConfig model;  // vocab_size set
  Layout layout;
  int64_t micro_batch_size = 1;
  int64_t rows_per_sample = 1;  // of seq_length: a row for each choice of a question
  int64_t seq_length = 0;
  int64_t global_batch_size = 1;
  int64_t compute_bytes = 4;  // of a weight or activation: 4, or 2 for bf16 and fp16
  int64_t moments = 2;        // optimizer tensors a parameter: Adam 2, SGD 1
  /// LibTorch's operators instead of the loops of ops/ for fp32 and bf16 on CPUs: GPUs, fp16. They
  /// keep dropout's masks, the probabilities of attention with dropout, and an fp32 copy of the
  /// logits.
  bool keeps_masks = false;
  bool widens_products = false;  // fp16 on CPUs: products are taken in fp32
  double predicted_share = 1;    // of the tokens, with logits of words: BERT's masked ones
  enum class Recompute { kNone, kSelective, kUniform, kBlock } recompute = Recompute::kNone;
  int64_t recompute_layers = 1;

  /// Of a micro-batch.
  int64_t tokens() const { return micro_batch_size * rows_per_sample * seq_length; }
};

struct Plan {
  int64_t parameters = 0;         // of the model, the vocabulary as it is
  int64_t padded_parameters = 0;  // with the padded vocabulary, as upstream counts
  int64_t rank_parameters = 0;    // of the fullest rank
  std::vector<std::pair<std::string, int64_t>> memory_bytes;  // item by item, of the fullest rank
  int64_t total_bytes() const;
};

Plan make_plan(const PlanRequest& request);

/// The plan with ranks and groups spelled out, for --dry-run.
std::string plan_text(const PlanRequest& request);

}  // namespace megalith

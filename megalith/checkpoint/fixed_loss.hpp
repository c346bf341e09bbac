// A number of a checkpoint's model on token ids that need no tokenizer, which anybody can compute
// from the same weights with another program.
#pragma once

#include <cstdint>

#include "megalith/checkpoint/checkpoint.hpp"

namespace megalith {

/// Id i of the fixed text is (7919 i) mod vocabulary; 7919 is a prime.
constexpr int64_t kFixedIdStep = 7919;
constexpr int64_t kMostFixedIds = 128;

struct FixedLoss {
  /// GPT: each id predicts the next. BERT: each id predicts itself, nothing being masked; without a
  /// language-model head the mean absolute value of the hidden states.
  enum class Kind { kNextIds, kSameIds, kHiddenStates } kind = Kind::kNextIds;
  int64_t num_ids = 0;  // kMostFixedIds, or the model's positions
  double loss = 0;      // mean of the num_ids - 1 (GPT) or num_ids predictions
};

/// In fp32 by one process, whatever type the weights have: needs four bytes a parameter.
FixedLoss loss_of_fixed_ids(const Checkpoint& checkpoint);

}  // namespace megalith

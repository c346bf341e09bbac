// What the loader draws from: numbered samples, each a window of tokens with its labels.
//
// Implementations: gpt_dataset.hpp and blended_dataset.hpp. Promise: sample(k) depends on k alone,
// so it may be called from any thread, in any order, any number of times.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace megalith {

/// Every vector has sequence-length entries.
struct Sample {
  std::vector<int64_t> tokens;
  std::vector<int64_t> labels;
  std::vector<float> loss_mask;  // 1 where the label counts
  std::vector<int64_t> position_ids;
  /// Attention stays inside runs of equal numbers; empty where it may reach everything before.
  std::vector<int64_t> segment_ids;
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t num_samples() const = 0;
  /// Throws std::out_of_range for k outside [0, num_samples()).
  virtual Sample sample(int64_t k) const = 0;
  /// Where the token at `position` of a sample's window lies (position sequence-length is the last
  /// label), for messages.
  virtual std::string place(int64_t k, int64_t position) const = 0;
  /// Distinct tokens behind the samples: those of one epoch.
  virtual int64_t tokens_per_epoch() const = 0;
  /// One line for people: documents, epochs, samples.
  virtual std::string summary() const = 0;
};

/// The attention mask of a sample as rows of queries, [S x S], 1 where attention is forbidden.
std::vector<uint8_t> attention_mask(const Sample& sample);

/// Start of each segment and, last, the sequence length: what variable-length attention takes.
std::vector<int64_t> segment_bounds(const Sample& sample);

}  // namespace megalith

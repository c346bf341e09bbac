// What the loader draws from: numbered samples of tokens with their labels.
//
// Implementations: gpt_dataset.hpp, bert_dataset.hpp and blended_dataset.hpp. Promise: sample(k)
// depends on k alone, so it may be called from any thread, in any order, any number of times.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace megalith {

/// The label of a position that is not to be predicted, where a dataset has such.
inline constexpr int64_t kIgnoredLabel = -1;

/// Every vector has sequence-length entries, or none where the dataset does not give it.
struct Sample {
  std::vector<int64_t> tokens;
  std::vector<int64_t> labels;  // GPT: of the next token; BERT: of the hidden one, or kIgnoredLabel
  std::vector<float> loss_mask;  // 1 where the label counts
  std::vector<int64_t> position_ids;
  /// Attention stays inside runs of equal numbers; empty where it may reach everything before.
  std::vector<int64_t> segment_ids;

  // BERT's.
  std::vector<int64_t> types;         // 0 in the first part of a pair, 1 in the second
  std::vector<int64_t> padding_mask;  // 1 where there is a token
  std::optional<int64_t> is_random;   // 1 where the parts of the pair were swapped
  bool truncated = false;             // tokens were cut off
};

enum class DatasetKind { kGpt, kBert };

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
  /// Distinct tokens below which every sample would repeat itself.
  virtual int64_t min_tokens() const = 0;
  /// One line for people: documents, epochs, samples.
  virtual std::string summary() const = 0;
};

/// The attention mask of a sample as rows of queries, [S x S], 1 where attention is forbidden.
std::vector<uint8_t> attention_mask(const Sample& sample);

/// Start of each segment and, last, the sequence length: what variable-length attention takes.
std::vector<int64_t> segment_bounds(const Sample& sample);

}  // namespace megalith

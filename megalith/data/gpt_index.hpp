// The order in which a GPT dataset serves its tokens: document, sample and shuffle index.
//
// Pure computation from sequence lengths; index_cache.hpp keeps the results on disk and
// gpt_dataset.hpp reads tokens by them. Promise: every array, its type included, equals what
// upstream builds from the same numbers, so a run can move between the two programs.
// One sample is a window of sequence-length tokens over the concatenated, shuffled documents, plus
// the first token of the next window, which is the last label.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "megalith/data/numpy_file.hpp"
#include "megalith/data/split.hpp"

namespace megalith {

struct GptIndexRequest {
  int64_t sequence_length = 0;
  std::optional<int64_t> num_samples = {};  // nothing: exactly one epoch
  int64_t seed = 1234;
  bool add_extra_token = true;
  bool keep_partial_sample = false;  // upstream does so for validation only, when asked
};

/// The counts that follow from the number of tokens alone.
struct GptIndexPlan {
  int64_t tokens_per_epoch = 0;
  int64_t num_epochs = 1;
  bool separate_last_epoch = false;  // the last epoch is shuffled alone, after the others
  int64_t samples_before_last_epoch = 0;
  int64_t num_samples = 0;  // generally more than asked
};

/// Throws UsageError when samples are asked of no tokens.
GptIndexPlan plan_gpt_index(int64_t tokens_per_epoch, const GptIndexRequest& request);

struct GptIndex {
  GptIndexPlan plan;
  IntegerArray documents;  // [epochs x sequences] sequence numbers
  IntegerArray samples;    // [samples + 1, 2] (position in `documents`, token offset in it)
  IntegerArray shuffle;    // [samples]
};

/// Tokens of the sequences in `interval`.
int64_t count_tokens(std::span<const int32_t> lengths, Interval interval);

/// Builds all three arrays over the sequences in `interval` of `lengths`.
GptIndex build_gpt_index(std::span<const int32_t> lengths, Interval interval,
                         const GptIndexRequest& request);

}  // namespace megalith

// From flags to the three datasets of a run: opens the data, splits, blends, and gets the sample
// order from the cache or builds it. GPT's and BERT's alike; split_dataset.hpp has the difference.
//
// Knows no process groups: one rank is told to build, the others wait by a function they are given.
// Promise: sizes, orders and cache names are upstream's for the same flags. Unlike upstream,
// a split without documents is left out when nothing is asked of it, and refused when something is.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "megalith/data/bert_data_config.hpp"
#include "megalith/data/data_config.hpp"
#include "megalith/data/dataset.hpp"
#include "megalith/data/index_cache.hpp"
#include "megalith/data/masking.hpp"

namespace megalith {

struct SampleCounts {
  int64_t train = 0, valid = 0, test = 0;
  int64_t of(Split split) const;
};

/// What a run draws: `train_samples` (or, when nothing, iterations x batch); validation every
/// `eval_interval` iterations and once more, `eval_iters` batches each; the test once. With a batch
/// size that ramps up, `train_iters` is the caller's count for `train_samples`.
SampleCounts requested_samples(int64_t train_iters, std::optional<int64_t> train_samples,
                               int64_t eval_interval, int64_t eval_iters,
                               int64_t global_batch_size);

/// What build_datasets needs to know beside DataConfig.
struct DatasetRequest {
  DatasetKind kind = DatasetKind::kGpt;
  int64_t sequence_length = 0;
  int64_t seed = 1234;
  SampleCounts samples = {};
  std::array<bool, 3> wanted = {true, true, true};  // splits to build, in the order of kSplits
  int64_t vocab_size = 0;                           // needed by GPT's mock data alone
  std::optional<int64_t> eod = {}, pad = {};        // GPT's
  BertDataConfig bert = {};  // BERT's, and its vocabulary: needed to make samples
  std::shared_ptr<const WordPieces> word_pieces = {};
  std::string tokenizer_json = "null";  // the tokenizer's block in the names of cache files

  IndexRole role = IndexRole::kBuild;
  /// Called first by ranks that do not build (role kLoadOrBuildPrivately): returns when the
  /// building rank is done, throws when it failed. A collective would time out on large data; a
  /// key in the rendezvous store does not. May be empty.
  std::function<void()> wait_for_builder = {};
  /// Takes single lines for people: a split that is left out, a cache that was stale. May be empty.
  std::function<void(const std::string&)> notice = {};

  /// BERT's, from `bert`.
  MaskingOptions masking() const {
    return {.probability = bert.mask_prob, .clean = bert.clean_masking};
  }
};

struct Datasets {
  std::shared_ptr<const Dataset> train, valid, test;  // null: the split is off
  const std::shared_ptr<const Dataset>& of(Split split) const;
  std::shared_ptr<const Dataset>& of(Split split);
};

/// Throws UsageError for data that cannot be opened or are of another kind, flags that have no
/// meaning for the kind, a split string that cannot be, and samples asked of a split without any.
Datasets build_datasets(const DataConfig& config, const DatasetRequest& request);

/// Refuses a training split that is absent or holds so few tokens that every sample would repeat
/// itself (GPT: sequence-length + 1 are needed), and one that gives fewer than `samples`. For
/// training; building an index does not need it.
void check_training_data(const Datasets& datasets, int64_t samples);

}  // namespace megalith

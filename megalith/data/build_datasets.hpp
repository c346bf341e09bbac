// From flags to the three datasets of a run: opens the data, splits, blends, and gets the sample
// order from the cache or builds it.
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

#include "megalith/data/data_config.hpp"
#include "megalith/data/dataset.hpp"
#include "megalith/data/index_cache.hpp"

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
  int64_t sequence_length = 0;
  int64_t seed = 1234;
  SampleCounts samples = {};
  std::array<bool, 3> wanted = {true, true, true};  // splits to build, in the order of kSplits
  int64_t vocab_size = 0;                           // needed by mock data alone
  std::optional<int64_t> eod = {}, pad = {};
  std::string tokenizer_json = "null";  // the tokenizer's block in the names of cache files

  IndexRole role = IndexRole::kBuild;
  /// Called first by ranks that do not build (role kLoadOrBuildPrivately): returns when the
  /// building rank is done, throws when it failed. A collective would time out on large data; a
  /// key in the rendezvous store does not. May be empty.
  std::function<void()> wait_for_builder = {};
  /// Takes single lines for people: a split that is left out, a cache that was stale. May be empty.
  std::function<void(const std::string&)> notice = {};
};

struct Datasets {
  std::shared_ptr<const Dataset> train, valid, test;  // null: the split is off
  const std::shared_ptr<const Dataset>& of(Split split) const;
  std::shared_ptr<const Dataset>& of(Split split);
};

/// Throws UsageError for data that cannot be opened, a split string that cannot be, and samples
/// asked of a split without tokens.
Datasets build_datasets(const DataConfig& config, const DatasetRequest& request);

/// Refuses a training split that is absent or holds fewer than sequence-length + 1 tokens, of which
/// every sample would repeat itself, and one that gives fewer than `samples`. For training;
/// building an index does not need it.
void check_training_data(const Datasets& datasets, int64_t sequence_length, int64_t samples);

}  // namespace megalith

// One split of one prefix as a dataset of its kind: what build_datasets.hpp blends.
//
// Here, and nowhere above, is what the kinds differ in: how the share of a split is counted
// (sequences for GPT, documents for BERT), which arrays the cache keeps and under which class.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "megalith/data/build_datasets.hpp"
#include "megalith/data/token_source.hpp"

namespace megalith {

struct SplitDatasetRequest {
  const DataConfig& config;
  const DatasetRequest& run;
  std::shared_ptr<const TokenSource> source;
  std::pair<double, double> bounds;  // the split's share
  DatasetDescription description;    // what is asked for; from describe_split_dataset

  Split split() const { return description.split; }
  std::optional<int64_t> num_samples() const { return description.num_samples; }
  std::string cache_folder() const;
};

/// Upstream's description of such a dataset, without path and number of samples.
DatasetDescription describe_dataset(const DataConfig& config, const DatasetRequest& run);

/// Throws UsageError when samples are asked of a share that gives none, and for data that are not
/// of the kind asked for. Nothing asked: the dataset may be empty.
std::shared_ptr<const Dataset> make_split_dataset(const SplitDatasetRequest& request);

/// make_split_dataset for each kind.
std::shared_ptr<const Dataset> make_gpt_split(const SplitDatasetRequest& request);
std::shared_ptr<const Dataset> make_bert_split(const SplitDatasetRequest& request);

/// "train 14, valid 0, test 0": what a split string leaves to each of `count`.
std::string shares_text(const SplitMatrix& matrix, int64_t count);

}  // namespace megalith

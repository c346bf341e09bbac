// The flags that say which data a run reads and how its samples are made.
//
// Sequence length, seed, batch sizes and tokenizer have homes of their own and come to
// build_datasets.hpp as a request. Names and defaults are upstream's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "megalith/core/fields.hpp"
#include "megalith/data/samplers.hpp"
#include "megalith/data/split.hpp"

namespace megalith {

struct DataConfig {
  std::vector<std::string> data_path = {};
  std::vector<std::string> train_data_path = {}, valid_data_path = {}, test_data_path = {};
  std::optional<std::string> data_args_path = {};
  std::optional<std::string> split = {};
  std::optional<std::string> data_cache_path = {};
  bool mock_data = false;
  LoaderKind dataloader_type = LoaderKind::kSingle;
  bool no_data_sharding = false;
  bool reset_position_ids = false;
  bool reset_attention_mask = false;
  bool eod_mask_loss = false;

  FieldList fields();

  /// The split string in force, default included.
  std::string split_text() const;
  /// True when each split has files of its own.
  bool per_split() const;
  const std::vector<std::string>& path_of(Split split) const;
  /// True when some mask or position depends on the end-of-document id.
  bool needs_eod() const;

  /// Adds what contradicts: no data or data from two sources, a split string that cannot be.
  void check(Problems& problems) const;
};

}  // namespace megalith

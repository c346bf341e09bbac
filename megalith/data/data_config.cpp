#include "megalith/data/data_config.hpp"

#include <charconv>
#include <filesystem>

namespace megalith {
namespace {

constexpr const char* kDefaultSplit = "969, 30, 1";
constexpr const char* kMockSplit = "1,1,1";

bool is_number(const std::string& word) {
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size();
}

/// A list with an odd number of words holds paths alone; one of them that is a number is a slip.
void check_weights(const std::vector<std::string>& words, Problems& problems) {
  if (words.size() < 3 || words.size() % 2 == 0) return;
  for (const auto& word : words) {
    if (!is_number(word) || std::filesystem::exists(word + ".idx")) continue;
    problems.add(
        "'{}' in the data paths is a weight or a path? Give each path its weight (WEIGHT PREFIX "
        "WEIGHT PREFIX ...) or none",
        word);
    return;
  }
}

}  // namespace

FieldList DataConfig::fields() {
  return {
      {"data-path", &data_path,
       "Indexed dataset: one prefix, several, or a list WEIGHT PREFIX WEIGHT PREFIX ..."},
      {"train-data-path", &train_data_path, "The same for training alone, instead of --data-path."},
      {"valid-data-path", &valid_data_path, "The same for validation."},
      {"test-data-path", &test_data_path, "The same for the test at the end."},
      {"data-args-path", &data_args_path, "File that holds the words of --data-path."},
      {"split", &split, "Shares of the documents for training, validation and test.", std::nullopt,
       fmt::format("{}; {} with --mock-data", kDefaultSplit, kMockSplit)},
      {"data-cache-path", &data_cache_path, "Folder for the index files.", std::nullopt,
       "PREFIX/cache/GPTDataset_indices, or BERT's"},
      {"mock-data", &mock_data, "Made-up tokens, no files."},
      {"dataloader-type", choice(dataloader_type, {"single", "cyclic"}),
       "single: the samples in the order of the index; cyclic: shuffled again each epoch."},
      {"no-data-sharding", &no_data_sharding,
       "cyclic: shuffle over all samples, not over a share of each replica."},
      {"reset-position-ids", &reset_position_ids,
       "Positions start again after each end of a document."},
      {"reset-attention-mask", &reset_attention_mask,
       "Attention does not reach back over the end of a document."},
      {"eod-mask-loss", &eod_mask_loss, "No loss where the input is the end of a document."},
  };
}

std::string DataConfig::split_text() const {
  return split.value_or(mock_data ? kMockSplit : kDefaultSplit);
}

bool DataConfig::per_split() const {
  return !train_data_path.empty() || !valid_data_path.empty() || !test_data_path.empty();
}

const std::vector<std::string>& DataConfig::path_of(Split which) const {
  if (which == Split::kTrain) return train_data_path;
  return which == Split::kValid ? valid_data_path : test_data_path;
}

bool DataConfig::needs_eod() const {
  return reset_position_ids || reset_attention_mask || eod_mask_loss;
}

void DataConfig::check(Problems& problems) const {
  std::vector<std::string> sources;
  if (!data_path.empty()) sources.emplace_back("--data-path");
  if (data_args_path) sources.emplace_back("--data-args-path");
  if (per_split()) sources.emplace_back("--train/valid/test-data-path");
  if (mock_data) sources.emplace_back("--mock-data");
  if (sources.empty() && !problems.was_refused("data-path")) {
    problems.add(
        "no data: give --data-path PREFIX (as written by megalith preprocess) or --mock-data");
  } else if (sources.size() > 1) {
    problems.add("data from two places: {}; give one of them", fmt::join(sources, " and "));
  }
  check_weights(data_path, problems);
  for (const Split which : kSplits) check_weights(path_of(which), problems);
  if (split && per_split()) {
    problems.add("--split '{}' has no meaning where each split has files of its own; leave it out",
                 *split);
  }
  if (per_split()) return;
  problems.collect([&] { (void)parse_split(split_text()); });
}

}  // namespace megalith

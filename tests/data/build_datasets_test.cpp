#include "megalith/data/build_datasets.hpp"

#include <gtest/gtest.h>

#include "megalith/data/blended_dataset.hpp"
#include "megalith/data/gpt_dataset.hpp"
#include "megalith/data/indexed_dataset_writer.hpp"
#include "tests/data/golden_json.hpp"

namespace megalith {
namespace {

using testing::golden;
using testing::Json;
using testing::MemoryFolder;

/// Documents of the given lengths, with the ids 0, 1, 2, … through all of them.
void write_dataset(const std::string& prefix, const std::vector<int32_t>& lengths,
                   int32_t first_id = 0) {
  IndexedDatasetWriter writer(prefix, TokenType::kInt32);
  int32_t id = first_id;
  for (const int32_t length : lengths) {
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < length; ++i) ids.push_back(id++);
    writer.append_sequence(ids);
    writer.end_document();
  }
  writer.commit();
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

const GptIndex& index_of(const std::shared_ptr<const Dataset>& dataset) {
  return dynamic_cast<const GptDataset&>(*dataset).index();
}

class BuildDatasets : public ::testing::Test {
 protected:
  std::string corpus(const std::vector<int32_t>& lengths, const std::string& name = "corpus",
                     int32_t first_id = 0) {
    write_dataset(folder_.path(name), lengths, first_id);
    return folder_.path(name);
  }
  DatasetRequest request(SampleCounts samples) {
    return {.sequence_length = 8,
            .samples = samples,
            .wait_for_builder = {},
            .notice = [this](const std::string& line) { notices_.push_back(line); }};
  }
  std::string cache() const { return folder_.path("cache"); }
  size_t cache_files() const {
    size_t count = 0;
    if (!std::filesystem::exists(cache())) return 0;
    for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(cache())) ++count;
    return count;
  }

  MemoryFolder folder_;
  std::vector<std::string> notices_;
};

int64_t asked_or_nothing(const Json& value) { return value.is_null() ? 0 : value.get<int64_t>(); }

TEST_F(BuildDatasets, BlendsAreUpstreams) {
  size_t compared = 0;
  const Json file = golden("blending.json");
  for (const auto& row : file.at("cases")) {
    if (row.at("kind") != "builder" || row.at("name") == "no_weights_no_sizes") continue;
    SCOPED_TRACE(row.at("name").get<std::string>());
    ++compared;
    DataConfig config{.split = row.at("split").get<std::string>()};
    for (size_t i = 0; i < row.at("lengths").size(); ++i) {
      const auto name = fmt::format("{}_{}", row.at("name").get<std::string>(), i);
      if (!row.at("weights").is_null()) {
        config.data_path.push_back(fmt::format("{}", row.at("weights")[i].get<double>()));
      }
      config.data_path.push_back(corpus(row.at("lengths")[i].get<std::vector<int32_t>>(), name));
    }
    const Json& targets = row.at("targets");
    DatasetRequest wanted = request(
        {asked_or_nothing(targets[0]), asked_or_nothing(targets[1]), asked_or_nothing(targets[2])});
    wanted.sequence_length = row.at("sequence_length");
    wanted.seed = row.at("seed");
    const Datasets datasets = build_datasets(config, wanted);
    for (const auto& expected : row.at("splits")) {
      const auto split = testing::split_named(expected.at("split_name"));
      ASSERT_TRUE(datasets.of(split));
      EXPECT_EQ(datasets.of(split)->num_samples(), expected.at("length").get<int64_t>());
      if (expected.contains("single")) continue;
      const auto& blend = dynamic_cast<const BlendedDataset&>(*datasets.of(split));
      testing::expect_array(blend.index().dataset, expected.at("dataset_index"));
      testing::expect_array(blend.index().sample, expected.at("dataset_sample_index"));
      for (size_t i = 0; i < blend.children().size(); ++i) {
        EXPECT_EQ(blend.children()[i]->num_samples(),
                  expected.at("children_length")[i].get<int64_t>());
      }
    }
  }
  EXPECT_EQ(compared, 5U);
}

TEST_F(BuildDatasets, BlendsWithoutWeightsAndSizesTakeEverySampleOnce) {
  // "Neither weights nor size" cannot be asked for by flags; the arrays are compared all the same.
  const Json file = golden("blending.json");
  size_t compared = 0;
  for (const auto& row : file.at("cases")) {
    if (row.at("kind") != "builder" || row.at("name") != "no_weights_no_sizes") continue;
    ++compared;
    for (const auto& expected : row.at("splits")) {
      const BlendIndex index =
          blend_exhaustively(expected.at("children_length").get<std::vector<int64_t>>());
      testing::expect_array(index.dataset, expected.at("dataset_index"));
      testing::expect_array(index.sample, expected.at("dataset_sample_index"));
    }
  }
  EXPECT_EQ(compared, 1U);
}

TEST_F(BuildDatasets, TheOrderComesFromTheCacheTheSecondTime) {
  const DataConfig config{
      .data_path = {corpus({7, 3, 12, 5, 9})}, .split = "1,0,0", .data_cache_path = cache()};
  const auto first = build_datasets(config, request({13, 0, 0}));
  EXPECT_EQ(cache_files(), 5U);
  const auto second = build_datasets(config, request({13, 0, 0}));
  EXPECT_EQ(index_of(first.train).shuffle[0], 7);
  EXPECT_EQ(index_of(second.train).shuffle[0], 7);
  EXPECT_EQ(first.train->sample(3).tokens, second.train->sample(3).tokens);
  EXPECT_EQ(notices_,
            (std::vector<std::string>{"no valid data: --split '1,0,0' gives it no share",
                                      "no test data: --split '1,0,0' gives it no share",
                                      "no valid data: --split '1,0,0' gives it no share",
                                      "no test data: --split '1,0,0' gives it no share"}));
}

TEST_F(BuildDatasets, ACacheOfOtherDataUnderTheSameNameIsNotUsed) {
  const DataConfig config{
      .data_path = {corpus({7, 3, 12, 5, 9})}, .split = "1,0,0", .data_cache_path = cache()};
  (void)build_datasets(config, request({13, 0, 0}));
  const auto idx = folder_.path("corpus.idx");
  const auto time = std::filesystem::last_write_time(idx);
  corpus({9, 5, 12, 3, 7});  // as many documents and tokens, and as old
  std::filesystem::last_write_time(idx, time);
  notices_.clear();
  const auto rebuilt = build_datasets(config, request({13, 0, 0}));
  ASSERT_FALSE(notices_.empty());
  EXPECT_NE(notices_[0].find("has changed"), std::string::npos);
  const GptIndex expected =
      build_gpt_index(std::vector<int32_t>{9, 5, 12, 3, 7}, {0, 5},
                      {.sequence_length = 8, .num_samples = 13, .seed = 1234});
  EXPECT_EQ(sha256_hex(index_of(rebuilt.train).samples.bytes()),
            sha256_hex(expected.samples.bytes()));
}

TEST_F(BuildDatasets, TheDefaultCacheLiesUnderThePrefix) {
  const DataConfig config{.data_path = {corpus({7, 3, 12, 5, 9})}, .split = "1,0,0"};
  (void)build_datasets(config, request({4, 0, 0}));
  EXPECT_TRUE(std::filesystem::is_directory(folder_.path("corpus/cache/GPTDataset_indices")));
}

TEST_F(BuildDatasets, WaitersWaitFirstAndWriteNothing) {
  const DataConfig config{
      .data_path = {corpus({7, 3, 12, 5, 9})}, .split = "1,0,0", .data_cache_path = cache()};
  DatasetRequest waiter = request({13, 0, 0});
  waiter.role = IndexRole::kLoadOrBuildPrivately;
  int waits = 0;
  waiter.wait_for_builder = [&] { ++waits; };
  const auto alone = build_datasets(config, waiter);  // as on a host that does not share the disk
  EXPECT_EQ(waits, 1);
  EXPECT_EQ(cache_files(), 0U);
  waiter.wait_for_builder = [&] { (void)build_datasets(config, request({13, 0, 0})); };
  const auto shared = build_datasets(config, waiter);
  EXPECT_EQ(cache_files(), 5U);
  EXPECT_EQ(alone.train->sample(2).tokens, shared.train->sample(2).tokens);
  waiter.wait_for_builder = [] { throw RunError("the building rank has failed"); };
  EXPECT_THROW(build_datasets(config, waiter), RunError);
}

TEST_F(BuildDatasets, ASplitWithoutDocumentsIsRefusedOnlyWhenSamplesAreAsked) {
  DataConfig config{.data_path = {corpus(std::vector<int32_t>(10, 50))},
                    .data_cache_path = cache()};
  const auto datasets = build_datasets(config, request({20, 0, 0}));
  EXPECT_TRUE(datasets.train);
  EXPECT_FALSE(datasets.valid);
  EXPECT_FALSE(datasets.test);
  const std::string text = message_of([&] { build_datasets(config, request({20, 6, 0})); });
  EXPECT_NE(text.find("6 samples are asked of the valid data"), std::string::npos) << text;
  EXPECT_NE(text.find("10 documents (train 10, valid 0, test 0)"), std::string::npos) << text;
  config.split = "1,0,0";
  EXPECT_FALSE(build_datasets(config, request({20, 6, 6})).valid);
  config.split = "0,1,0";
  EXPECT_NE(message_of([&] { build_datasets(config, request({20, 6, 6})); }), "");
  EXPECT_FALSE(build_datasets(config, request({0, 6, 6})).train);
}

TEST_F(BuildDatasets, DocumentsWithoutTokensDoNotLoopForEver) {
  const DataConfig config{.data_path = {corpus({0, 0, 0})}, .split = "1,0,0"};
  EXPECT_NE(message_of([&] { build_datasets(config, request({1, 0, 0})); }), "");
  EXPECT_FALSE(build_datasets(config, request({0, 0, 0})).train);
}

TEST_F(BuildDatasets, ZeroSamplesBuildOneEpochAsUpstream) {
  const DataConfig config{.data_path = {corpus({7, 3, 12, 5, 9})}, .split = "3,2,0"};
  const auto datasets = build_datasets(config, request({0, 0, 0}));
  EXPECT_EQ(datasets.train->num_samples(), 2);
  EXPECT_EQ(datasets.valid->num_samples(), 1);
}

TEST_F(BuildDatasets, TrainingNeedsOneSampleOfTokens) {
  const DataConfig config{.data_path = {corpus({4, 4})}, .split = "1,0,0"};
  const auto small = build_datasets(config, request({5, 0, 0}));
  EXPECT_EQ(small.train->num_samples(), 5);
  EXPECT_THROW(check_training_data(small, 0), UsageError);
  DatasetRequest shorter = request({5, 0, 0});
  shorter.sequence_length = 7;
  const auto enough = build_datasets(config, shorter);
  EXPECT_THROW(check_training_data(enough, 6), UsageError);
  EXPECT_NO_THROW(check_training_data(enough, 0));
  EXPECT_THROW(check_training_data({}, 0), UsageError);
}

TEST_F(BuildDatasets, SplitsMayHaveFilesOfTheirOwn) {
  const DataConfig config{
      .train_data_path = {corpus({30, 30}, "train")},
      .valid_data_path = {"1", corpus({30}, "one", 100), "3", corpus({30}, "three", 200)},
      .data_cache_path = cache()};
  const auto datasets = build_datasets(config, request({5, 8, 4}));
  EXPECT_EQ(datasets.train->tokens_per_epoch(), 60);
  EXPECT_EQ(datasets.valid->num_samples(), 8);
  EXPECT_EQ(datasets.valid->tokens_per_epoch(), 60);
  EXPECT_GE(datasets.valid->sample(0).tokens[0], 100);
  EXPECT_FALSE(datasets.test);
  EXPECT_EQ(notices_, (std::vector<std::string>{"no test data: there is no --test-data-path"}));
}

TEST_F(BuildDatasets, WordsMayStandInAFile) {
  const std::string words = folder_.path("words.txt");
  AtomicFile file(words);
  file.write(fmt::format("0.5 {}\n0.5 {}\n", corpus({50}, "a"), corpus({50}, "b")));
  file.commit();
  const DataConfig config{.data_args_path = words, .split = "1,0,0"};
  EXPECT_EQ(build_datasets(config, request({6, 0, 0})).train->num_samples(), 6);
}

TEST_F(BuildDatasets, ABlendThatRoundsUpGetsTheSamplesItDraws) {
  // Five children of which each stands for one sample: the first is drawn three times.
  DataConfig config{.split = "1,0,0"};
  for (const char* name : {"0.6 a", "0.1 b", "0.1 c", "0.1 d", "0.1 e"}) {
    const std::string word = name;
    config.data_path.push_back(word.substr(0, 3));
    config.data_path.push_back(corpus({17}, word.substr(4)));
  }
  const auto datasets = build_datasets(config, request({1, 0, 0}));
  EXPECT_EQ(datasets.train->num_samples(), 5);
  EXPECT_NO_THROW((void)datasets.train->sample(4));
}

TEST_F(BuildDatasets, MockDataNeedNoFiles) {
  DataConfig config{.mock_data = true};
  DatasetRequest wanted = request({10, 10, 10});
  wanted.vocab_size = 300;
  wanted.sequence_length = 1024;
  const auto datasets = build_datasets(config, wanted);
  for (const Split split : kSplits) {
    const auto tokens = datasets.of(split)->sample(0).tokens;
    EXPECT_LT(*std::max_element(tokens.begin(), tokens.end()), 300);
  }
  const auto again = build_datasets(config, wanted);
  EXPECT_EQ(datasets.train->sample(7).tokens, again.train->sample(7).tokens);
}

TEST_F(BuildDatasets, MasksNeedTheEndMark) {
  DataConfig config{.data_path = {corpus({50})}, .split = "1,0,0", .eod_mask_loss = true};
  EXPECT_NE(message_of([&] {
              build_datasets(config, request({1, 0, 0}));
            }).find("--tokenizer"),
            std::string::npos);
}

TEST(RequestedSamples, AreUpstreams) {
  const SampleCounts counts = requested_samples(100, std::nullopt, 30, 5, 8);
  EXPECT_EQ(counts.train, 800);
  EXPECT_EQ(counts.valid, 4 * 5 * 8);  // 100 // 30 + 1 evaluations
  EXPECT_EQ(counts.test, 5 * 8);
  EXPECT_EQ(requested_samples(100, 777, 30, 0, 8).train, 777);
  EXPECT_EQ(requested_samples(100, 777, 30, 0, 8).valid, 0);
}

TEST(DataConfig, FindsWhatContradicts) {
  const auto problems = [](DataConfig config) {
    Problems found;
    config.check(found);
    return found.texts().size();
  };
  EXPECT_EQ(problems({}), 1U);
  EXPECT_EQ(problems({.data_path = {"a"}}), 0U);
  EXPECT_EQ(problems({.data_path = {"a"}, .mock_data = true}), 1U);
  EXPECT_EQ(problems({.data_path = {"a"}, .split = "0,0"}), 1U);
  EXPECT_EQ(problems({.train_data_path = {"a"}, .split = "9,1"}), 1U);
  EXPECT_EQ(problems({.train_data_path = {"a"}}), 0U);
}

}  // namespace
}  // namespace megalith

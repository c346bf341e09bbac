// megalith data index and data samples from outside: the samples that upstream's GPTDataset gives,
// no tokenizer needed, shares of nothing, and a cache that is never trusted blindly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "data/golden_json.hpp"
#include "megalith/core/error.hpp"
#include "support/process.hpp"

namespace megalith::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
ProcessResult data(const Words& words) {
  return run_process(Words{MEGALITH_BINARY, "data"} + words);
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<Json> lines_of(const std::string& text) {
  std::vector<Json> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
  return lines;
}

/// Flags that ask for the order of a golden case.
Words flags_of(const Json& row, const std::string& cache) {
  Words words{"--data-path",
              golden_path(row.at("dataset").get<std::string>()),
              "--seq-length",
              fmt::format("{}", row.at("sequence_length").get<int64_t>()),
              "--seed",
              fmt::format("{}", row.at("seed").get<int64_t>()),
              "--split",
              row.at("split").get<std::string>(),
              "--num-samples",
              fmt::format("{},0,0", row.at("num_samples").get<int64_t>()),
              "--data-cache-path",
              cache};
  for (const char* flag : {"reset_position_ids", "reset_attention_mask", "eod_mask_loss"}) {
    std::string name = flag;
    std::replace(name.begin(), name.end(), '_', '-');
    if (row.at(flag).get<bool>()) words.push_back("--" + name);
  }
  if (words.back().starts_with("--")) {
    words = words + Words{"--tokenizer-type", "NullTokenizer", "--vocab-size",
                          fmt::format("{}", row.at("eod").get<int64_t>())};
  }
  return words;
}

TEST(DataSamples, AreUpstreams) {
  const MemoryFolder folder;
  size_t compared = 0;
  const Json file = golden("gpt_samples.json");
  for (const auto& row : file.at("cases")) {
    if (!row.at("name").get<std::string>().starts_with("flags_")) continue;
    SCOPED_TRACE(row.at("name").get<std::string>());
    const Words flags = flags_of(row, folder.path("cache"));
    for (const auto& expected : row.at("samples")) {
      // The golden run had a pad id, which the null tokenizer has not; windows with it differ.
      const Json& window = expected.at("window");
      if (std::find(window.begin(), window.end(), row.at("pad")) != window.end()) continue;
      const auto index = expected.at("index").get<int64_t>();
      const auto result = data(Words{"samples"} + flags +
                               Words{"--which", "train", "--first", fmt::format("{}", index)});
      ASSERT_EQ(result.status, 0) << result.err;
      const auto lines = lines_of(result.out);
      ASSERT_EQ(lines.size(), 1U);
      for (const char* key : {"index", "tokens", "labels", "loss_mask", "position_ids"}) {
        EXPECT_EQ(lines[0].at(key), expected.at(key)) << key;
      }
      ++compared;
    }
  }
  EXPECT_EQ(compared, 14U);
  EXPECT_FALSE(std::filesystem::exists(folder.path("cache"))) << "samples writes no file";
}

class DataIndex : public ::testing::Test {
 protected:
  DataIndex() {
    for (const char* ending : {".bin", ".idx"}) {
      std::filesystem::copy_file(golden_path("indexed/gpt_docs") + ending,
                                 folder_.path("docs") + ending);
    }
  }
  Words flags(const Words& more) const {
    return Words{"--data-path", folder_.path("docs"), "--seq-length",
                 "16",          "--data-cache-path",  folder_.path("cache")} +
           more;
  }
  std::vector<std::string> cache() const { return names_in(folder_.path("cache")); }

  MemoryFolder folder_;
};

TEST_F(DataIndex, WritesTheArraysThatUpstreamMakes) {
  const Json file = golden("gpt_samples.json");
  for (const auto& row : file.at("cases")) {
    if (row.at("name") != "flags_000") continue;
    const auto result =
        data(Words{"index"} + flags({"--split", "1,0,0", "--num-samples", "30,0,0"}));
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr("train: "));
    EXPECT_THAT(result.out, HasSubstr(folder_.path("cache")));
    size_t found = 0;
    for (const auto& name : cache()) {
      for (const char* array : {"document_index", "sample_index", "shuffle_index"}) {
        if (!name.ends_with(fmt::format("-{}.npy", array))) continue;
        expect_array(read_numpy(folder_.path("cache/" + name)), row.at(array));
        ++found;
      }
    }
    EXPECT_EQ(found, 3U);
  }
}

TEST_F(DataIndex, TakesTheFlagsOfPretrain) {
  // 10 iterations of 4 samples; validation every 5 iterations and once more, 2 batches each.
  const auto by_run =
      data(Words{"index"} + flags({"--split", "8,1,1", "--train-iters", "10", "--global-batch-size",
                                   "4", "--eval-interval", "5", "--eval-iters", "2", "--num-layers",
                                   "2", "--lr", "1e-4", "--use-flash-attn"}));
  ASSERT_EQ(by_run.status, 0) << by_run.err;
  const auto by_run_files = cache();
  std::filesystem::remove_all(folder_.path("cache"));
  const auto by_size =
      data(Words{"index"} + flags({"--split", "8,1,1", "--num-samples", "40,24,8"}));
  ASSERT_EQ(by_size.status, 0) << by_size.err;
  EXPECT_EQ(by_run.out, by_size.out);
  EXPECT_EQ(by_run_files, cache());
}

TEST_F(DataIndex, AShareOfNothingIsLeftOutWithALine) {
  const auto none = data(Words{"index"} + flags({"--split", "1,0,0", "--num-samples", "9,5,5"}));
  EXPECT_EQ(none.status, 0) << none.err;
  EXPECT_THAT(none.err, HasSubstr("no valid data: --split '1,0,0' gives it no share\n"));
  EXPECT_THAT(none.err, HasSubstr("no test data: "));
  EXPECT_THAT(none.out, Not(HasSubstr("valid")));

  // 14 documents: a share that rounds to none of them is refused when samples are asked of it.
  const Words thin{"--split", "98,1,1"};
  const auto refused = data(Words{"index"} + flags(thin + Words{"--num-samples", "9,5,0"}));
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("5 samples are asked of the valid data"));
  EXPECT_THAT(refused.err, HasSubstr("14 documents (train 14, valid 0, test 0)"));
  EXPECT_THAT(refused.err, HasSubstr("share of 0"));
  EXPECT_EQ(data(Words{"index"} + flags(thin + Words{"--num-samples", "9,0,0"})).status, 0);
}

TEST_F(DataIndex, BuildsFewerTokensThanASampleAsUpstream) {
  const auto result = data(Words{"index", "--data-path", folder_.path("docs"), "--seq-length",
                                 "1000", "--num-samples", "2,0,0", "--split", "1,0,0",
                                 "--data-cache-path", folder_.path("cache")});
  EXPECT_EQ(result.status, 0) << result.err;
}

TEST_F(DataIndex, AForeignOrBrokenCacheIsBuiltAgain) {
  const Words words = Words{"index"} + flags({"--split", "1,0,0", "--num-samples", "30,0,0"});
  ASSERT_EQ(data(words).status, 0);
  for (const auto& name : cache()) {
    if (!name.ends_with(".npy")) continue;
    const std::string path = folder_.path("cache/" + name);
    const std::string good = read_text_file(path);
    std::string changed = good;
    changed.back() = static_cast<char>(changed.back() ^ 1);
    for (const std::string& bad : {good.substr(0, good.size() / 2), std::string(), changed}) {
      std::ofstream(path, std::ios::binary) << bad;
      const auto result = data(words);
      EXPECT_EQ(result.status, 0) << result.err;
      EXPECT_EQ(read_text_file(path), good) << name;
    }
  }
}

}  // namespace
}  // namespace megalith::testing

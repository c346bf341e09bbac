// megalith pretrain from outside: real processes on a few documents, the same loss for every
// layout, mistakes all reported at once, and the paper's parameter counts. Saving and going on:
// resume_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "megalith/core/error.hpp"
#include "support/process.hpp"
#include "support/rank_group.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_corpus.hpp"

namespace megalith::testing {
namespace {

using ::testing::HasSubstr;

/// Metrics of a run: losses by iteration, in order, then validation and test.
std::vector<std::pair<std::string, double>> numbers_of(const std::string& path,
                                                       const std::vector<std::string>& keys) {
  std::vector<std::pair<std::string, double>> numbers;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const auto object = nlohmann::json::parse(line);
    for (const auto& key : keys) {
      if (!object.contains(key)) continue;
      numbers.emplace_back(fmt::format("{} at {}", key, object.at("iteration").get<int64_t>()),
                           object.at(key).is_number() ? object.at(key).get<double>()
                                                      : HUGE_VAL);  // "Infinity", "NaN"
    }
  }
  return numbers;
}

const std::vector<std::string> kLosses{"lm_loss", "validation_loss", "test_loss"};

class Pretrain : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    make_tiny_corpus(folder_->path(), "ids", 3);
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string file(const std::string& name) { return folder_->path(name); }

  static Words command(int64_t num_ranks, const Words& flags) {
    Words words{MEGALITH_BINARY};
    if (num_ranks > 1) {
      words.insert(words.end(), {"launch", "--nproc-per-node", fmt::format("{}", num_ranks)});
    }
    words.insert(words.end(), {"pretrain",
                               "gpt",
                               "--num-layers",
                               "2",
                               "--hidden-size",
                               "32",
                               "--num-attention-heads",
                               "4",
                               "--seq-length",
                               "16",
                               "--micro-batch-size",
                               "2",
                               "--global-batch-size",
                               "8",
                               "--train-iters",
                               "8",
                               "--lr",
                               "0.01",
                               "--lr-warmup-iters",
                               "2",
                               "--eval-interval",
                               "4",
                               "--eval-iters",
                               "2",
                               "--log-interval",
                               "1",
                               "--split",
                               "80,10,10",
                               "--tokenizer-type",
                               "NullTokenizer",
                               "--vocab-size",
                               "90",
                               "--data-path",
                               file("ids_text_document"),
                               "--num-threads",
                               "1"});
    words.insert(words.end(), flags.begin(), flags.end());
    return words;
  }
  static ProcessResult pretrain(int64_t num_ranks, const Words& flags) {
    return run_process(command(num_ranks, flags), {}, 120);
  }

 private:
  static inline std::unique_ptr<TemporaryFolder> folder_;
};

TEST_F(Pretrain, HasTheSameLossesForEveryLayout) {
  const Words no_dropout{"--hidden-dropout", "0", "--attention-dropout", "0"};
  std::vector<std::pair<std::string, double>> expected;
  for (const auto& [ranks, tensor] : {std::pair{1, "1"}, {2, "2"}, {2, "1"}, {4, "2"}}) {
    const std::string metrics = file(fmt::format("metrics_{}_{}.jsonl", ranks, tensor));
    Words flags = no_dropout;
    flags.insert(flags.end(), {"--tensor-model-parallel-size", tensor, "--metrics-file", metrics});
    const auto result = pretrain(ranks, flags);
    ASSERT_EQ(result.status, 0) << result.err << result.out;
    const auto losses = numbers_of(metrics, kLosses);
    if (expected.empty()) expected = losses;
    ASSERT_EQ(losses.size(), 8 + 2 + 1);
    for (size_t i = 0; i < losses.size(); ++i) {
      EXPECT_EQ(losses[i].first, expected[i].first);
      // fp32 sums in another order over 8 steps that Adam amplifies.
      EXPECT_NEAR(losses[i].second, expected[i].second, 1e-4 * expected[i].second)
          << losses[i].first << " on " << ranks << " ranks, tensor " << tensor;
    }
  }
  EXPECT_LT(expected[9].second, expected[0].second - 0.5) << "the model did not learn";
}

TEST_F(Pretrain, ReportsAllMistakesAtOnceAndTouchesNothing) {
  const std::string save = file("never");
  const auto result =
      pretrain(1, {"--hidden-size", "30", "--seq-length", "64", "--max-position-embeddings", "32",
                   "--lr", "-1", "--global-batch-size", "7", "--bf16", "--fp16",
                   "--sequence-parallel", "--tensor-model-parallel-sise", "2", "--save", save});
  EXPECT_EQ(result.status, 2);
  for (const char* text :
       {"--hidden-size 30 is not divisible by --num-attention-heads 4",
        "--seq-length 64 is longer than --max-position-embeddings 32", "--lr must be",
        "--bf16 and --fp16 exclude each other", "--sequence-parallel is not supported",
        "did you mean --tensor-model-parallel-size"}) {
    EXPECT_THAT(result.err, HasSubstr(text));
  }
  EXPECT_THAT(result.err, HasSubstr("7"));
  EXPECT_FALSE(std::filesystem::exists(save));
}

TEST_F(Pretrain, NoticesARankWithOtherFlags) {
  const std::string script =
      fmt::format("if [ $RANK = 1 ]; then S=0.02; else S=0.01; fi; exec {} --adam-eps $S",
                  fmt::join(command(1, {"--tensor-model-parallel-size", "2"}), " "));
  std::vector<std::unique_ptr<Process>> ranks;
  const int port = free_port();
  for (int rank = 0; rank < 2; ++rank) {
    ProcessOptions options;
    options.environment = {{"RANK", fmt::format("{}", rank)},
                           {"WORLD_SIZE", "2"},
                           {"LOCAL_RANK", fmt::format("{}", rank)},
                           {"LOCAL_WORLD_SIZE", "2"},
                           {"MASTER_ADDR", "127.0.0.1"},
                           {"MASTER_PORT", fmt::format("{}", port)}};
    ranks.push_back(std::make_unique<Process>(Words{"/bin/sh", "-c", script}, options));
  }
  for (auto& rank : ranks) {
    const auto result = rank->wait(60);
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr("--adam-eps differs between ranks: rank(s) 1 were"));
  }
}

struct PaperModel {
  const char *family, *run_file, *ranks, *count;
};

void expect_count(const PaperModel& model, const Words& vocabulary) {
  ProcessOptions options;
  options.environment = {{"RANK", "0"},        {"WORLD_SIZE", model.ranks},
                         {"LOCAL_RANK", "0"},  {"LOCAL_WORLD_SIZE", "8"},
                         {"MASTER_PORT", "1"}, {"MASTER_ADDR", "127.0.0.1"}};
  Words words{MEGALITH_BINARY, "pretrain", model.family, "--config",
              fmt::format("{}/configs/{}.toml", MEGALITH_SOURCE_DIR, model.run_file)};
  words.insert(words.end(), vocabulary.begin(), vocabulary.end());
  words.insert(words.end(), {"--mock-data", "--dry-run"});
  const auto result = run_process(words, options);
  EXPECT_EQ(result.status, 0) << model.run_file << result.err;
  EXPECT_THAT(result.out, HasSubstr(model.count)) << model.run_file;
}

TEST(RunFiles, HaveThePapersParameterCounts) {
  const std::string root = MEGALITH_SOURCE_DIR;
  for (const PaperModel& model : {PaperModel{"gpt", "gpt2_355m", "64", "355788800"},
                                  {"gpt", "gpt2_1.2b", "64", "1213479936"},
                                  {"gpt", "gpt2_2.5b", "128", "2490408960"},
                                  {"gpt", "gpt2_4.2b", "256", "4199109120"},
                                  {"gpt", "gpt2_8.3b_table1", "512", "8317040640"},
                                  {"gpt", "gpt2_8.3b", "512", "8317040640"}}) {
    expect_count(model, {"--vocab-file", root + "/assets/gpt2/vocab.json", "--merge-file",
                         root + "/assets/gpt2/merges.txt"});
  }
  for (const PaperModel& model : {PaperModel{"bert", "bert_336m", "128", "336297858"},
                                  {"bert", "bert_1.3b", "256", "1280739202"},
                                  {"bert", "bert_3.9b", "512", "3869260674"}}) {
    expect_count(model, {"--vocab-file", root + "/tests/golden/bert-vocab/uncased.txt"});
  }
}

}  // namespace
}  // namespace megalith::testing

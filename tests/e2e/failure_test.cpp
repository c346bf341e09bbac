// Ranks that die, stall, come late or never: real processes and signals from outside. The job ends
// everywhere within the time-out and some seconds, names the rank at fault, leaves nothing behind,
// and goes on exactly when it is started again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "megalith/core/error.hpp"
#include "support/rank_group.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_corpus.hpp"

namespace megalith::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using Clock = std::chrono::steady_clock;

constexpr const char* kTimeoutMinutes = "0.08";
constexpr double kTimeoutSeconds = 4.8;
// Beyond the time-out: the answers of the others, the way out, and a busy machine.
constexpr double kGraceSeconds = 15;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}
void sleep_for(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

/// Every number of a metrics file but the times.
std::vector<std::string> exact_lines(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const auto object = nlohmann::json::parse(line);
    std::string kept = fmt::format("{}", object.at("iteration").get<int64_t>());
    for (const char* key : {"lm_loss", "validation_loss", "test_loss", "grad_norm"}) {
      if (object.contains(key)) kept += fmt::format(" {} {}", key, object.at(key).dump());
    }
    lines.push_back(kept);
  }
  return lines;
}

class Failure : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    make_tiny_corpus(folder_->path(), "ids", 3);
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string file(const std::string& name) { return folder_->path(name); }

  static Words pretrain(const Words& flags) {
    Words words{MEGALITH_BINARY,
                "pretrain",
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
                "--lr",
                "0.01",
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
                "1"};
    words.insert(words.end(), flags.begin(), flags.end());
    return words;
  }
  /// A run that goes on until somebody ends it.
  static Words endless(Words more = {}) {
    more.insert(more.begin(), {"--train-iters", "100000", "--eval-iters", "0",
                               "--distributed-timeout-minutes", kTimeoutMinutes});
    return pretrain(more);
  }
  static Words launched(const Words& words, int64_t num_ranks = 2) {
    Words all{MEGALITH_BINARY, "launch", "--nproc-per-node", fmt::format("{}", num_ranks)};
    all.insert(all.end(), words.begin() + 1, words.end());
    return all;
  }

  /// The rank's failure: within the time-out, with this culprit on its first line.
  static std::string expect_blames(Process& rank, const std::string& culprit) {
    const auto start = Clock::now();
    const auto result = rank.wait(kTimeoutSeconds + kGraceSeconds);
    EXPECT_EQ(result.status, 1) << result.err << seconds_since(start);
    const auto at = result.err.find("megalith: rank");
    EXPECT_NE(at, std::string::npos) << result.err;
    if (at == std::string::npos) return result.err;
    const std::string message = result.err.substr(at);
    EXPECT_THAT(message.substr(0, message.find('\n')), HasSubstr(culprit)) << result.err;
    return message;
  }

 private:
  static inline std::unique_ptr<TemporaryFolder> folder_;
};

// ---------------------------------------------------------------- under megalith launch

TEST_F(Failure, LaunchEndsTheRunOfAKilledRank) {
  Process launch(launched(endless({"--tensor-model-parallel-size", "2"})));
  ASSERT_TRUE(launch.wait_for_output("iteration        3/", 60));
  const std::vector<pid_t> pids{rank_process(launch.pid(), 0), rank_process(launch.pid(), 1)};
  ::kill(pids[1], SIGKILL);
  const auto result = launch.wait(kTimeoutSeconds + kGraceSeconds);
  EXPECT_EQ(result.status, 128 + SIGKILL);
  EXPECT_THAT(result.err, HasSubstr("rank 0 of 2: rank 1 does not answer"));
  // Operation, size, group, number and phase of the call that failed.
  EXPECT_THAT(
      result.err,
      ContainsRegex("rank 0: waited .* of [0-9]+ [A-Za-z]+ \\([0-9]+ bytes\\), group "
                    "'(tensor|model|world)' of ranks 0, 1, call [0-9]+, iteration [0-9]+, "));
  EXPECT_THAT(result.err, HasSubstr("megalith launch: rank 1"));
  EXPECT_TRUE(all_end_within(pids, 1));
}

TEST_F(Failure, LaunchEndsAStalledRankToo) {
  Process launch(launched(endless({"--tensor-model-parallel-size", "2"})));
  ASSERT_TRUE(launch.wait_for_output("iteration        3/", 60));
  const std::vector<pid_t> pids{rank_process(launch.pid(), 0), rank_process(launch.pid(), 1)};
  ::kill(pids[1], SIGSTOP);
  const auto result = launch.wait(kTimeoutSeconds + kGraceSeconds);
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err, HasSubstr("rank 0 of 2: rank 1 does not answer"));
  EXPECT_TRUE(all_end_within(pids, 1));
}

TEST_F(Failure, AStalledRankDoesNotOutliveAKilledLauncher) {
  Process launch(launched(endless({"--tensor-model-parallel-size", "2"})));
  ASSERT_TRUE(launch.wait_for_output("iteration        3/", 60));
  const std::vector<pid_t> pids{rank_process(launch.pid(), 0), rank_process(launch.pid(), 1)};
  ::kill(pids[1], SIGSTOP);
  launch.send(SIGKILL);
  EXPECT_TRUE(all_end_within(pids, 2));
}

// ---------------------------------------------------------------- without a launcher that helps

TEST_F(Failure, TensorTimesDataRanksAllNameTheDeadOne) {
  for (const int signal : {SIGKILL, SIGSTOP}) {
    RankGroup group(4);
    group.start_all(endless({"--tensor-model-parallel-size", "2"}));
    ASSERT_TRUE(group.rank(0).wait_for_output("iteration        3/", 60));
    group.rank(3).send(signal);
    for (int64_t rank = 0; rank < 3; ++rank) {
      const auto message = expect_blames(group.rank(rank), "rank 3 does not answer");
      EXPECT_THAT(message, ContainsRegex("rank 2: (has )?waited .* iteration"));
    }
    EXPECT_FALSE(is_listened_on(group.port()));
  }
}

TEST_F(Failure, TheRankThatServesTheStoreIsNamedToo) {
  for (const int signal : {SIGKILL, SIGSTOP}) {
    RankGroup group(4);
    group.start_all(endless({"--tensor-model-parallel-size", "2"}));
    ASSERT_TRUE(group.rank(0).wait_for_output("iteration        3/", 60));
    group.rank(0).send(signal);
    for (int64_t rank = 1; rank < 4; ++rank) {
      const auto message = expect_blames(group.rank(rank), ": rank 0 is ");
      EXPECT_THAT(message, HasSubstr(fmt::format("the store at 127.0.0.1:{}", group.port())));
    }
  }
}

TEST_F(Failure, InValidation) {
  for (const int signal : {SIGKILL, SIGSTOP}) {
    RankGroup group(2);
    group.start_all(
        pretrain({"--tensor-model-parallel-size", "2", "--train-iters", "4", "--eval-interval", "2",
                  "--eval-iters", "5000", "--distributed-timeout-minutes", kTimeoutMinutes}));
    ASSERT_TRUE(group.rank(0).wait_for_output("iteration        2/", 60));
    sleep_for(0.3);
    group.rank(1).send(signal);
    EXPECT_THAT(expect_blames(group.rank(0), "rank 1 does not answer"),
                HasSubstr("validation at iteration 2"));
  }
}

TEST_F(Failure, InSavingWithoutLeavingFiles) {
  for (const int signal : {SIGKILL, SIGSTOP}) {
    const std::string save = file(fmt::format("saving_{}", signal));
    RankGroup group(2);
    // Large enough that the save takes a while: 80 MB.
    group.start_all(endless({"--tensor-model-parallel-size", "2", "--hidden-size", "512", "--save",
                             save, "--save-interval", "2"}));
    ASSERT_TRUE(group.rank(0).wait_for_output("saving a checkpoint at iteration 2", 60));
    group.rank(1).send(signal);
    EXPECT_THAT(expect_blames(group.rank(0), "rank 1 does not answer"),
                HasSubstr("saving at iteration 2"));
    for (const auto& name : names_in(save)) EXPECT_THAT(name, Not(HasSubstr(".tmp-"))) << signal;
  }
}

// ---------------------------------------------------------------- start-up

TEST_F(Failure, ALateRankIsWaitedFor) {
  RankGroup group(2);
  const auto words =
      pretrain({"--train-iters", "2", "--eval-iters", "0", "--distributed-timeout-minutes", "1"});
  for (const int64_t late : {0, 1}) {
    group.start(1 - late, words);
    sleep_for(3);
    group.start(late, words);
    for (const int64_t rank : {0, 1}) {
      const auto result = group.rank(rank).wait(60);
      EXPECT_EQ(result.status, 0) << result.err;
    }
  }
}

TEST_F(Failure, AMissingRankIsNamedAtTheStart) {
  RankGroup group(4);
  const auto words = endless({"--tensor-model-parallel-size", "2"});
  for (const int64_t rank : {0, 1, 3}) group.start(rank, words);
  for (const int64_t rank : {0, 1, 3}) {
    EXPECT_THAT(expect_blames(group.rank(rank), "rank 2 is missing"),
                HasSubstr("joined: rank 0, 1, 3"));
  }
  EXPECT_FALSE(is_listened_on(group.port()));
}

TEST_F(Failure, AMissingFirstRankIsNamedAtTheStart) {
  RankGroup group(2);
  group.start(1, endless());
  expect_blames(group.rank(1), "rank 0 is missing");
}

TEST_F(Failure, AFirstRankThatStallsInWorkOfItsOwnIsNoticed) {
  const std::string save = file("conversation");
  const auto trained =
      run_process(pretrain({"--train-iters", "1", "--eval-iters", "0", "--save", save}));
  ASSERT_EQ(trained.status, 0) << trained.err;
  // Waiting for a prompt has no time-out; the input is a pipe that nobody writes to.
  for (const int signal : {SIGKILL, SIGSTOP}) {
    RankGroup group(2);
    const Words words{MEGALITH_BINARY,
                      "generate",
                      "--load",
                      save,
                      "--interactive",
                      "--tensor-model-parallel-size",
                      "2",
                      "--distributed-timeout-minutes",
                      kTimeoutMinutes};
    group.start(0, {"/bin/sh", "-c", fmt::format("sleep 100 | exec {}", fmt::join(words, " "))});
    group.start(1, words);
    sleep_for(kTimeoutSeconds + 2);
    EXPECT_TRUE(is_running(group.rank(1).pid())) << group.rank(1).wait().err;
    const pid_t first = rank_process(group.rank(0).pid(), 0);
    ::kill(-group.rank(0).pid(), signal);
    EXPECT_NE(first, 0);
    expect_blames(group.rank(1), "rank 0 ");
    ::kill(-group.rank(0).pid(), SIGKILL);
  }
}

TEST_F(Failure, AnErrorOfOneRankIsRepeatedByTheOthers) {
  // The same flags, but from another folder the data is not there.
  Words words = endless();
  *std::find(words.begin(), words.end(), file("ids_text_document")) = "ids_text_document";
  const auto from = [&](const std::string& folder) {
    return Words{"/bin/sh", "-c", fmt::format("cd {} && exec {}", folder, fmt::join(words, " "))};
  };
  RankGroup group(2);
  group.start(0, from(file("")));
  group.start(1, from("/"));
  const auto failed = group.rank(1).wait(30);
  EXPECT_EQ(failed.status, 2) << failed.err;
  EXPECT_THAT(failed.err, HasSubstr("ids_text_document"));
  EXPECT_THAT(expect_blames(group.rank(0), "rank 1 failed: "), HasSubstr("ids_text_document"));
}

// ---------------------------------------------------------------- going on

/// Losses, norms and validations of a run that nothing disturbed.
std::vector<std::string> undisturbed(const Words& words, const std::string& save) {
  Words all = words;
  all.insert(all.end(), {"--save", save});
  const auto result = run_process(all, {}, 120);
  EXPECT_EQ(result.status, 0) << result.err;
  return exact_lines(save + "/metrics.jsonl");
}

TEST_F(Failure, StartedAgainItGoesOnExactly) {
  Words words = launched(pretrain({"--tensor-model-parallel-size", "2", "--train-iters", "40",
                                   "--eval-interval", "10", "--eval-iters", "1", "--save-interval",
                                   "4", "--distributed-timeout-minutes", kTimeoutMinutes}));
  const auto expected = undisturbed(words, file("again_whole"));
  const std::string save = file("again");
  words.insert(words.end(), {"--save", save, "--load", save, "--load-if-exists"});
  Process first(words);
  ASSERT_TRUE(first.wait_for_output("iteration       18/", 60));
  ::kill(rank_process(first.pid(), 1), SIGKILL);
  EXPECT_EQ(first.wait(30).status, 128 + SIGKILL);
  const auto second = run_process(words, {}, 60);
  EXPECT_EQ(second.status, 0) << second.err;
  EXPECT_THAT(second.out, HasSubstr("resumed at iteration"));
  EXPECT_EQ(exact_lines(save + "/metrics.jsonl"), expected);
}

TEST_F(Failure, TorchrunStartsItAgainAndItGoesOnExactly) {
  const std::string torchrun = std::string(MEGALITH_SOURCE_DIR) + "/.venv/bin/torchrun";
  if (!std::filesystem::exists(torchrun)) {
    GTEST_SKIP() << "no " << torchrun << ": tools/setup --oracles installs it";
  }
  const Words flags{"--tensor-model-parallel-size",
                    "2",
                    "--train-iters",
                    "40",
                    "--eval-interval",
                    "10",
                    "--eval-iters",
                    "1",
                    "--save-interval",
                    "4",
                    "--distributed-timeout-minutes",
                    kTimeoutMinutes};
  const auto expected = undisturbed(launched(pretrain(flags)), file("torchrun_whole"));
  const std::string save = file("torchrun");
  Words words{torchrun, "--standalone", "--no-python", "--nproc-per-node", "2", "--max-restarts",
              "1"};
  const auto ours = pretrain(flags);
  words.insert(words.end(), ours.begin(), ours.end());
  words.insert(words.end(), {"--save", save, "--load", save, "--load-if-exists"});
  Process process(words);
  ASSERT_TRUE(process.wait_for_output("iteration       18/", 90));
  ::kill(rank_process(process.pid(), 1), SIGKILL);
  const auto result = process.wait(120);
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("resumed at iteration"));
  EXPECT_EQ(exact_lines(save + "/metrics.jsonl"), expected);
}

}  // namespace
}  // namespace megalith::testing

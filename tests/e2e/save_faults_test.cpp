// Saving when the world is against it: runs killed at any moment, damaged files, a full disk, a
// second run on the folder, a folder that the ranks do not share.
#include <gmock/gmock.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "support/rank_group.hpp"
#include "tests/e2e/tiny_run.hpp"

namespace megalith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class SaveFaults : public TinyRun {};

/// Iteration of the latest checkpoint by the file that names it; -1 when there is none.
int64_t latest(const std::string& folder) {
  int64_t iteration = -1;
  std::ifstream(folder + "/latest_checkpointed_iteration.txt") >> iteration;
  return iteration;
}

int64_t kill_rounds() {
  const char* text = std::getenv("MEGALITH_KILL_ROUNDS");
  return text == nullptr ? 5 : std::atoll(text);
}

TEST_F(SaveFaults, KilledAtAnyMomentLeavesAWholeCheckpoint) {
  const std::string save = file("killed");
  // Tiny steps and a save after each: most moments are moments of a save.
  const Words flags{"--save",
                    save,
                    "--load",
                    save,
                    "--load-if-exists",
                    "--save-interval",
                    "1",
                    "--keep-last",
                    "2",
                    "--eval-iters",
                    "0",
                    "--train-iters",
                    "1000000",
                    "--lr-decay-iters",
                    "1000"};
  std::mt19937 random(20261125);  // NOLINT: the same moments each time, as far as clocks allow
  int64_t before = -1, num_unfinished = 0;
  for (int64_t round = 0; round < kill_rounds(); ++round) {
    const int64_t num_ranks = round % 3 == 2 ? 2 : 1;
    Process process(
        command(num_ranks,
                flags + (num_ranks == 2 ? Words{"--tensor-model-parallel-size", "2"} : Words{})));
    ASSERT_TRUE(process.wait_for_output("saving a checkpoint", 60))
        << "round " << round << ": " << process.wait(1).err;
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 600'000));
    process.send(SIGKILL);
    EXPECT_EQ(process.wait(20).status, 128 + SIGKILL);
    for (const auto& name : checkpoints_in(save)) {
      num_unfinished += name.find(".tmp-") != std::string::npos;
    }
    const int64_t now = latest(save);
    EXPECT_GE(now, before) << "round " << round;
    if (now >= 0) {
      const auto result = run_process({MEGALITH_BINARY, "checkpoint", "inspect", save, "--verify"});
      ASSERT_EQ(result.status, 0) << "round " << round << ": " << result.err;
    }
    before = now;
  }
  fmt::print("{} kills, {} of them during a write, last checkpoint at iteration {}\n",
             kill_rounds(), num_unfinished, before);
  EXPECT_GT(before, 0);
  const std::string total = std::to_string(before + 3);
  train(1, flags + Words{"--train-iters", total});
  EXPECT_EQ(latest(save), before + 3);
  EXPECT_EQ(checkpoints_in(save).size(), 2U) << "leftovers";
  for (const auto& name : names_in(save)) EXPECT_EQ(name.find(".tmp"), std::string::npos) << name;
  const auto lines = metrics_of(save);
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].at("iteration"), static_cast<int64_t>(i) + 1);
  }
}

TEST_F(SaveFaults, DamagedFilesAreRefusedByName) {
  const std::string save = file("damaged"), good = file("good");
  train(2, {"--save", good, "--save-interval", "6", "--tensor-model-parallel-size", "2"});
  const auto refusal = [&](const std::string& name,
                           const std::function<void(std::string)>& damage) {
    fs::remove_all(save);
    fs::copy(good, save, fs::copy_options::recursive);
    damage(save + "/iter_0000012/" + name);
    // On two ranks, of which one may be the only one that reads the file.
    const auto result = pretrain(2, {"--load", save, "--load-if-exists", "--save", save,
                                     "--tensor-model-parallel-size", "2", "--train-iters", "14"});
    EXPECT_EQ(result.status, 2) << name << result.out << result.err;
    EXPECT_THAT(result.err, HasSubstr(name));
    EXPECT_EQ(latest(save), 12) << name;
    EXPECT_EQ(checkpoints_in(save).size(), 2U);
    return result.err;
  };
  const auto flip = [](const std::string& path, std::streamoff place) {
    std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(place, place < 0 ? std::ios::end : std::ios::beg);
    const auto at = stream.tellg();
    const int byte = stream.get();
    stream.seekp(at);
    stream.put(static_cast<char>(byte ^ 1));
  };
  EXPECT_THAT(refusal("optimizer_00001.safetensors",
                      [](const auto& path) { fs::resize_file(path, fs::file_size(path) - 7); }),
              HasSubstr("truncated"));
  EXPECT_THAT(refusal("model_00001.safetensors", [&](const auto& path) { flip(path, -5); }),
              AllOf(HasSubstr("damaged: the checksum of"), HasSubstr("--ckpt-step")));
  EXPECT_THAT(refusal("model_00000.safetensors",
                      [&](const auto& path) {
                        fs::copy_file(good + "/iter_0000006/model_00000.safetensors", path,
                                      fs::copy_options::overwrite_existing);
                      }),
              HasSubstr("foreign"));
  EXPECT_THAT(refusal("manifest.json", [&](const auto& path) { flip(path, 400); }),
              HasSubstr("damaged"));
  EXPECT_THAT(refusal("optimizer_00000.safetensors", [](const auto& path) { fs::remove(path); }),
              HasSubstr("cannot be read"));
  // The one before is untouched.
  train(1, {"--load", save, "--ckpt-step", "6", "--train-iters", "7"});
}

TEST_F(SaveFaults, ASecondRunIsToldWhoHoldsTheFolder) {
  const std::string save = file("held");
  const Words flags{"--save", save, "--load", save, "--load-if-exists", "--save-interval", "1"};
  Process first(command(1, flags + Words{"--train-iters", "1000000", "--lr-decay-iters", "1000"}));
  ASSERT_TRUE(first.wait_for_output("iteration        2/", 60));
  const auto second = pretrain(1, flags);
  EXPECT_EQ(second.status, 2);
  EXPECT_THAT(second.err, AllOf(HasSubstr("is in use by a run on host"),
                                ContainsRegex("since 20[0-9-]+ [0-9:]+ UTC"),
                                HasSubstr(fmt::format("process {}", first.pid()))));
  first.send(SIGKILL);
  first.wait(20);
  EXPECT_THAT(train(1, flags + Words{"--train-iters", std::to_string(latest(save) + 1)}),
              HasSubstr("resumed at iteration"));
}

TEST_F(SaveFaults, FolderThatRanksDoNotShareIsRefusedAtTheStart) {
  const int port = free_port();
  // One path, two folders: each rank has a working directory of its own.
  const Words words = command(1, {"--save", "checkpoints", "--tensor-model-parallel-size", "2"});
  std::vector<std::unique_ptr<Process>> ranks;
  for (int rank = 0; rank < 2; ++rank) {
    const std::string home = file(fmt::format("home_{}", rank));
    fs::create_directories(home);
    ProcessOptions options;
    options.environment = {{"RANK", fmt::format("{}", rank)},
                           {"WORLD_SIZE", "2"},
                           {"LOCAL_RANK", fmt::format("{}", rank)},
                           {"LOCAL_WORLD_SIZE", "2"},
                           {"MASTER_ADDR", "127.0.0.1"},
                           {"MASTER_PORT", std::to_string(port)}};
    ranks.push_back(std::make_unique<Process>(
        Words{"sh", "-c", fmt::format("cd {} && exec {}", home, fmt::join(words, " "))}, options));
  }
  for (const auto& process : ranks) {
    const auto result = process->wait(60);
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.err, AllOf(HasSubstr("--save checkpoints: rank 1: on host"),
                                  HasSubstr("must be on a disk that all ranks share")));
    EXPECT_EQ(result.out.find("iteration   "), std::string::npos);
  }
}

// --- a full disk: a small file system of the test's own, which its processes alone see

class FullDisk : public SaveFaults {
 protected:
  void SetUp() override {
    const std::string place = file("place");
    fs::create_directories(place);
    const auto result = run_process(
        {"unshare", "--mount", "sh", "-c",
         fmt::format("mount -t tmpfs -o size=64k tmpfs {} && touch {}/file", place, place)});
    if (result.status != 0) GTEST_SKIP() << "no file system can be mounted here: " << result.err;
  }
  /// Runs a script with `disk` mounted; $M is the training command without flags.
  ProcessResult run_on(const std::string& disk, const std::string& size, const Words& flags,
                       const std::string& script) {
    fs::create_directories(disk);
    const std::string text = fmt::format(
        "mount -t tmpfs -o size={} tmpfs {} && cd {} || exit 99\nM='{}'\n{}", size, disk, disk,
        fmt::join(
            command(1, flags + Words{"--save", disk, "--save-interval", "2", "--eval-iters", "0"}),
            " "),
        script);
    return run_process({"unshare", "--mount", "sh", "-c", text}, {}, 120);
  }
};

// A checkpoint of the tiny model takes about 400 kB.
TEST_F(FullDisk, StopsAndLeavesThePreviousCheckpoint) {
  const std::string disk = file("disk");
  const auto result = run_on(disk, "700k", {},
                             fmt::format("$M; echo status $?; ls; cat metrics.jsonl | wc -l\n"
                                         "{} checkpoint inspect . --verify",
                                         MEGALITH_BINARY));
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out,
              AllOf(HasSubstr("status 1"), HasSubstr("megalith checkpoint of iteration 2"),
                    HasSubstr("every byte is as it was written")));
  EXPECT_THAT(result.err, AllOf(HasSubstr("cannot save"), HasSubstr("iter_0000004"),
                                HasSubstr("No space left on device")));
  EXPECT_EQ(result.out.find("iteration        5/"), std::string::npos) << "it went on";
  EXPECT_EQ(result.out.find(".tmp-"), std::string::npos) << "leftovers";
}

TEST_F(FullDisk, GoesOnWhenToldButTheLastSaveMustSucceed) {
  const std::string disk = file("disk_on");
  const auto result =
      run_on(disk, "700k", {"--on-save-failure", "continue"},
             fmt::format("$M; echo status $?; ls\n{} checkpoint inspect .", MEGALITH_BINARY));
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("iteration       12/"), HasSubstr("status 1"),
                                HasSubstr("training goes on (--on-save-failure continue)"),
                                HasSubstr("megalith checkpoint of iteration 2")));
  EXPECT_THAT(result.err, HasSubstr("iter_0000012"));
}

TEST_F(FullDisk, GoesOnAndSavesWhenThereIsRoomAgain) {
  const std::string disk = file("disk_room");
  const auto result =
      run_on(disk, "2m",
             {"--on-save-failure", "continue", "--keep-last", "2", "--train-iters", "100000",
              "--lr-decay-iters", "100"},
             fmt::format(
                 "dd if=/dev/zero of=hog bs=1k count=1300 2>/dev/null\n"
                 "$M > ../room.log & run=$!\n"
                 "for i in $(seq 600); do grep -q 'goes on' ../room.log && break; sleep 0.1; done\n"
                 "rm hog; sleep 0.5; kill -TERM $run; wait $run; echo status $?\n"
                 "{} checkpoint inspect . --verify",
                 MEGALITH_BINARY));
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out,
              AllOf(HasSubstr("status 0"), HasSubstr("every byte is as it was written")))
      << result.err;
  EXPECT_EQ(result.out.find("megalith checkpoint of iteration 2\n"), std::string::npos);
}

// Where nothing can be mounted, a limit on the size of files stands in for the full disk.
TEST_F(SaveFaults, AFileThatMayNotGrowEndsTheSave) {
  const std::string save = file("limited");
  train(1, {"--save", save, "--train-iters", "2"});
  const Words words = command(1, {"--save", save, "--load", save, "--train-iters", "4"});
  const auto result =
      run_process({"bash", "-c", fmt::format("ulimit -f 40; exec {}", fmt::join(words, " "))});
  EXPECT_EQ(result.status, 1) << result.out;
  EXPECT_THAT(result.err, AllOf(HasSubstr("iter_0000004"), HasSubstr("File too large")));
  EXPECT_THAT(checkpoint({"inspect", save, "--verify"}),
              HasSubstr("megalith checkpoint of iteration 2"));
  EXPECT_EQ(checkpoints_in(save), Words{"iter_0000002"});
}

}  // namespace
}  // namespace megalith::testing

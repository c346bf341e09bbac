// The save folder: what its names mean, what may be deleted, who holds it.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/sample_tensors.hpp"
#include "megalith/checkpoint/save_folder.hpp"
#include "megalith/core/error.hpp"
#include "support/ranks.hpp"
#include "support/temporary_folder.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;
using testing::RankContext;
using testing::run_ranks;
using testing::sample_tensors;
using testing::TemporaryFolder;

void save_sample(const std::string& folder, int64_t iteration, const Layout& layout) {
  run_ranks(layout, [&](RankContext& context) {
    save_checkpoint(folder, iteration, sample_tensors(context.groups(), true), {},
                    context.groups());
  });
}

TEST(CheckpointFolder, SaysWhatIsThereInstead) {
  const TemporaryFolder folder;
  const auto refusal = [&](std::optional<int64_t> step = {}) {
    return error_of<UsageError>([&] { Checkpoint::open(folder.path("save"), step); });
  };
  EXPECT_THAT(refusal(), HasSubstr("does not exist"));
  fs::create_directory(folder.path("save"));
  EXPECT_THAT(refusal(), HasSubstr("no latest_checkpointed_iteration.txt"));
  EXPECT_EQ(latest_iteration(folder.path("save")), std::nullopt);
  folder.write("save/latest_checkpointed_iteration.txt", "release\n");
  EXPECT_THAT(refusal(), HasSubstr("says 'release"));
  folder.write("save/latest_checkpointed_iteration.txt", "300\n");
  EXPECT_THAT(refusal(), HasSubstr("iter_0000300 (named in latest"));
  fs::create_directories(folder.path("save/iter_0000300/mp_rank_00"));
  EXPECT_THAT(refusal(), HasSubstr("pickle"));
  save_sample(folder.path("save"), 200, {.tensor = 1, .data = 1});
  EXPECT_THAT(refusal(300), AllOf(HasSubstr("pickle"), HasSubstr("complete are 200")));
  fs::remove(folder.path("save/latest_checkpointed_iteration.txt"));
  EXPECT_EQ(Checkpoint::open(folder.path("save"), 200).iteration(), 200);
  // Killed just before its first checkpoint was marked as the latest.
  EXPECT_EQ(Checkpoint::open(folder.path("save")).iteration(), 200);
}

TEST(CheckpointFolder, HasNoCheckpointOnlyWhereThereNeverWasOne) {
  const TemporaryFolder folder;
  const std::string save = folder.path("save");
  EXPECT_TRUE(has_no_checkpoint(save));
  folder.write("save/metrics.jsonl", "");
  folder.write("save/run.lock", "");
  folder.write("save/iter_0000002.tmp-0123456789abcdef/model_00000.safetensors", "half");
  EXPECT_TRUE(has_no_checkpoint(save));
  for (const char* trace :
       {"latest_checkpointed_iteration.txt", "iter_0000002/model_00000.safetensors",
        "iter_0000002.tmp-0-replaced/manifest.json", "model_00000.safetensors", "manifest.json",
        "mp_rank_00/model_optim_rng.pt", ".metadata"}) {
    const auto path = folder.write(std::string("save/") + trace, "");
    EXPECT_FALSE(has_no_checkpoint(save)) << trace;
    EXPECT_FALSE(has_no_checkpoint(path)) << "a file is no save folder";
    const auto first = fs::path(trace).begin()->string();
    fs::remove_all(folder.path("save/" + first));
  }
  EXPECT_TRUE(has_no_checkpoint(save));
}

TEST(CheckpointFolder, SurplusIsWhatNoRuleKeeps) {
  const std::vector<int64_t> complete{0, 10, 20, 30, 40, 50};
  const auto surplus = [&](int64_t saved, const KeepRule& rule) {
    return surplus_iterations(complete, saved, rule);
  };
  using Iterations = std::vector<int64_t>;
  EXPECT_EQ(surplus(50, {}), Iterations{});
  EXPECT_EQ(surplus(50, {.keep_last = 1}), (Iterations{0, 10, 20, 30, 40}));
  EXPECT_EQ(surplus(50, {.keep_last = 3}), (Iterations{0, 10, 20}));
  EXPECT_EQ(surplus(50, {.keep_last = 9}), Iterations{});
  EXPECT_EQ(surplus(50, {.retain_interval = 20}), (Iterations{10, 30}));
  EXPECT_EQ(surplus(50, {.keep_last = 2, .retain_interval = 30}), (Iterations{10, 20}));
  // What was just saved stays, whatever lies ahead of it.
  EXPECT_EQ(surplus(20, {.keep_last = 1}), (Iterations{0, 10}));
  EXPECT_EQ(surplus(20, {.keep_last = 2}), (Iterations{0}));
}

TEST(CheckpointFolder, RemovesACheckpointWhole) {
  const TemporaryFolder folder;
  for (const int64_t iteration : {1, 2}) {
    save_sample(folder.path(), iteration, {.tensor = 1, .data = 1});
  }
  folder.write("iter_0000001.tmp-removed/left", "from a removal that was killed");
  remove_checkpoint(folder.path(), 1);
  EXPECT_EQ(testing::names_in(folder.path()),
            (std::vector<std::string>{"iter_0000002", "latest_checkpointed_iteration.txt"}));
  EXPECT_THROW(remove_checkpoint(folder.path(), 1), RunError);
}

TEST(SaveFolder, IsHeldByOneRunAndCleared) {
  const TemporaryFolder folder;
  const std::string save = folder.path("a/b/");
  folder.write("a/b/iter_0000002.tmp-0123456789abcdef/model_00000.safetensors", "half");
  folder.write("a/b/metrics.jsonl.tmp.17.0", "half");
  run_ranks({.tensor = 2, .data = 1}, [&](RankContext& context) {
    const SaveFolder held(save, context.groups(), at::kCPU);
    EXPECT_EQ(held.notices().size(), context.rank() == 0 ? 1U : 0U);
    const auto message =
        error_of<UsageError>([&] { SaveFolder(save, context.groups(), at::kCPU); });
    EXPECT_THAT(message, AllOf(HasSubstr("is in use by a run on host"),
                               HasSubstr(fmt::format("process {}", ::getpid()))));
  });
  EXPECT_EQ(testing::names_in(save), std::vector<std::string>{"run.lock"});
  const SaveFolder again(save, ProcessGroups(), at::kCPU);
}

TEST(SaveFolder, TakesAFolderThatItMadeAwayWhenNothingWasPutThere) {
  const TemporaryFolder folder;
  const std::string save = folder.path("a/b/");
  { const SaveFolder held(save, ProcessGroups(), at::kCPU); }
  EXPECT_THAT(testing::names_in(folder.path()), ::testing::IsEmpty());
  {
    const SaveFolder held(save, ProcessGroups(), at::kCPU);
    folder.write("a/b/metrics.jsonl", "{}\n");
  }
  EXPECT_EQ(testing::names_in(save), (std::vector<std::string>{"metrics.jsonl", "run.lock"}));
}

TEST(SaveFolder, RefusesWhatIsNoFolder) {
  const TemporaryFolder folder;
  folder.write("file", "");
  EXPECT_THAT(error_of<UsageError>([&] { SaveFolder(folder.path("file"), {}, at::kCPU); }),
              HasSubstr("--save " + folder.path("file")));
}

TEST(CheckpointFolder, UnfinishedSavesAreIgnoredAndRemovedOnRequest) {
  const TemporaryFolder folder;
  save_sample(folder.path(), 1, {.tensor = 1, .data = 1});
  folder.write("iter_0000002.tmp-0123456789abcdef/model_00000.safetensors", "half");
  folder.write("latest_checkpointed_iteration.txt.tmp.123.0", "2");
  EXPECT_EQ(complete_iterations(folder.path()), std::vector<int64_t>{1});
  // Killed between setting the old iteration 1 aside and giving its name to the new one.
  fs::rename(folder.path("iter_0000001"), folder.path("iter_0000001.tmp-0-replaced"));
  EXPECT_EQ(unfinished_saves(folder.path()).size(), 2U);
  remove_unfinished_saves(folder.path());
  EXPECT_EQ(testing::names_in(folder.path()),
            (std::vector<std::string>{"iter_0000001", "latest_checkpointed_iteration.txt"}));
  Checkpoint::open(folder.path()).verify_all();
}

}  // namespace
}  // namespace megalith

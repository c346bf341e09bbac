// A save that fails on one rank fails on all, leaves nothing behind and the previous checkpoint
// intact.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <nlohmann/json.hpp>

#include "checkpoint/sample_tensors.hpp"
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

constexpr Layout kLayout{.tensor = 2, .data = 2};

/// Writes beyond `bytes` of a file fail, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

class FailedSave : public ::testing::Test {
 protected:
  void SetUp() override {
    run_ranks(kLayout, [&](RankContext& context) {
      save_checkpoint(folder_.path("save"), 1, sample_tensors(context.groups(), true), {},
                      context.groups());
    });
  }
  void expect_previous_intact() const {
    EXPECT_EQ(testing::names_in(folder_.path("save")),
              (std::vector<std::string>{"iter_0000001", "latest_checkpointed_iteration.txt"}));
    const auto checkpoint = Checkpoint::open(folder_.path("save"));
    EXPECT_EQ(checkpoint.iteration(), 1);
    checkpoint.verify_all();
  }
  TemporaryFolder folder_;
};

TEST_F(FailedSave, FullDiskOnOneRankReachesAll) {
  std::atomic<int> num_refused = 0;
  {
    const FileSizeLimit limit(200'000);
    run_ranks(kLayout, [&](RankContext& context) {
      auto tensors = sample_tensors(context.groups(), true);
      // Every rank holds it; the first tensor rank of one replica writes it.
      tensors.push_back(
          {"", at::zeros({300, 300}), {{Box{"big.weight", {300, 300}, {0, 0}, {300, 300}}}, true}});
      const auto message = error_of<RunError>(
          [&] { save_checkpoint(folder_.path("save"), 2, tensors, {}, context.groups()); });
      EXPECT_THAT(message, AllOf(HasSubstr("iter_0000002: 1 of 4 ranks failed"),
                                 HasSubstr("model_0000"), HasSubstr("cannot write")));
      ++num_refused;
    });
  }
  EXPECT_EQ(num_refused, 4);
  expect_previous_intact();
}

TEST_F(FailedSave, FolderThatRanksDoNotShareIsDetected) {
  for (const int64_t stranger : {0, 3}) {
    run_ranks(kLayout, [&](RankContext& context) {
      const bool is_stranger = context.rank() == stranger;
      const auto folder = folder_.path(is_stranger ? "elsewhere" : "save");
      const auto message = error_of<RunError>([&] {
        save_checkpoint(folder, 2, sample_tensors(context.groups(), true), {}, context.groups());
      });
      EXPECT_THAT(message, HasSubstr("must be on a disk that all ranks share"));
    });
    expect_previous_intact();
  }
}

TEST_F(FailedSave, FolderThatCannotBeMade) {
  folder_.write("file", "");
  run_ranks(kLayout, [&](RankContext& context) {
    const auto message = error_of<RunError>([&] {
      save_checkpoint(folder_.path("file"), 2, sample_tensors(context.groups(), true), {},
                      context.groups());
    });
    EXPECT_THAT(message, HasSubstr("rank 0: "));
  });
}

TEST_F(FailedSave, WhatIsNoCheckpointIsNotOverwritten) {
  folder_.write("save/iter_0000002/mp_rank_00/model_optim_rng.pt", "precious");
  const auto message = error_of<RunError>([&] {
    run_ranks(kLayout, [&](RankContext& context) {
      save_checkpoint(folder_.path("save"), 2, sample_tensors(context.groups(), true), {},
                      context.groups());
    });
  });
  EXPECT_THAT(message, HasSubstr("is no megalith checkpoint; it is not overwritten"));
  EXPECT_TRUE(fs::exists(folder_.path("save/iter_0000002/mp_rank_00/model_optim_rng.pt")));
}

TEST_F(FailedSave, RanksAtDifferentIterationsAreRefused) {
  run_ranks(kLayout, [&](RankContext& context) {
    const auto message = error_of<RunError>([&] {
      save_checkpoint(folder_.path("save"), 2 + context.rank() / 3,
                      sample_tensors(context.groups(), true), {}, context.groups());
    });
    EXPECT_THAT(message, HasSubstr("rank 3: is at iteration 3, rank 0 at 2"));
  });
  expect_previous_intact();
}

TEST_F(FailedSave, TensorsThatDoNotMakeAWholeAreRefused) {
  run_ranks(kLayout, [&](RankContext& context) {
    const auto message = error_of<RunError>([&] {
      std::vector<CheckpointTensor> tensors;
      if (context.groups().tensor().rank == 0) tensors = sample_tensors(context.groups(), true);
      save_checkpoint(folder_.path("save"), 2, tensors, {}, context.groups());
    });
    EXPECT_THAT(message, HasSubstr("was not written whole"));
  });
  expect_previous_intact();
}

}  // namespace
}  // namespace megalith

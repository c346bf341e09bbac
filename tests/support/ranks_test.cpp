// The thread ranks themselves: results, and every mistake becomes an error that names it.
#include "support/ranks.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "megalith/core/error.hpp"
#include "megalith/parallel/collectives.hpp"
#include "support/temporary_folder.hpp"

namespace megalith::testing {
namespace {

using ::testing::HasSubstr;

std::string failure_of(const Layout& layout, const RankBody& body) {
  try {
    run_ranks(layout, body, std::chrono::milliseconds(300));
  } catch (const RunError& error) {
    return error.what();
  }
  return "no failure";
}

TEST(Ranks, EveryRankRunsOnceWithItsCoordinates) {
  std::atomic<int64_t> seen = 0;
  run_ranks({.tensor = 2, .data = 2}, [&](RankContext& ctx) {
    EXPECT_EQ(ctx.groups().coordinates().tensor, ctx.rank() % 2);
    EXPECT_EQ(ctx.groups().coordinates().data, ctx.rank() / 2);
    seen += 1 << ctx.rank();
  });
  EXPECT_EQ(seen, 15);
}

TEST(Ranks, FirstFailureNamesItsRankAndReleasesTheOthers) {
  const auto text = failure_of({.tensor = 4}, [](RankContext& ctx) {
    if (ctx.rank() == 2) throw RunError("out of cheese");
    barrier(ctx.groups().tensor());
  });
  EXPECT_EQ(text, "rank 2: out of cheese");
}

TEST(Ranks, MissingRankIsReported) {
  const auto text = failure_of({.tensor = 4}, [](RankContext& ctx) {
    if (ctx.rank() < 2) barrier(ctx.groups().world());
    if (ctx.rank() >= 2) barrier(ctx.groups().tensor());
  });
  EXPECT_THAT(text, HasSubstr("2 of 4 joined barrier"));
}

TEST(Ranks, RankThatReturnsEarlyIsReportedAtOnce) {
  const auto text = failure_of({.tensor = 2}, [](RankContext& ctx) {
    if (ctx.rank() == 0) barrier(ctx.groups().tensor());
  });
  EXPECT_THAT(text, HasSubstr("1 of 2 joined barrier of group 'tensor 0,1'; missing: rank 1"));
}

TEST(Ranks, MismatchNamesBothSides) {
  const auto text = failure_of({.tensor = 2}, [](RankContext& ctx) {
    at::Tensor x = at::ones({2 + ctx.rank(), 3});
    all_reduce(x, ctx.groups().tensor());
  });
  EXPECT_THAT(text, HasSubstr("rank 0 calls all_reduce SUM of Float 2x3, rank 1 calls all_reduce "
                              "SUM of Float 3x3"));
}

TEST(Ranks, GlooRanksNoticeCallsThatDiffer) {
  const auto text = error_of<RunError>([] {
    run_gloo_ranks({.tensor = 2}, [](RankContext& ctx) {
      at::Tensor x = at::zeros({2 + ctx.rank()});
      all_reduce(x, ctx.groups().tensor());
    });
  });
  EXPECT_THAT(text, HasSubstr("group 'tensor': rank 0 calls all_reduce of 2 Float (8 bytes), call "
                              "1; rank 1 calls all_reduce of 3 Float (12 bytes), call 1"));
}

}  // namespace
}  // namespace megalith::testing

// The layout of ranks: the paper's worked example, and what must hold for every layout.
#include "megalith/parallel/topology.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "megalith/parallel/process_groups.hpp"
#include "support/ranks.hpp"

namespace megalith::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Appendix B.1, figure 8: model parallel size 8 on 16 ranks.
TEST(Topology, PapersFigureEight) {
  const Layout layout{.tensor = 8, .data = 2};
  EXPECT_THAT(group_ranks(layout, {.tensor = true}, 0), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(group_ranks(layout, {.tensor = true}, 13), ElementsAre(8, 9, 10, 11, 12, 13, 14, 15));
  for (int64_t i = 0; i < 8; ++i) {
    EXPECT_THAT(group_ranks(layout, {.data = true}, i), ElementsAre(i, i + 8));
    EXPECT_THAT(group_ranks(layout, {.data = true}, i + 8), ElementsAre(i, i + 8));
  }
}

TEST(Topology, TensorIsFastestThenContextDataPipeline) {
  const Layout layout{.tensor = 2, .context = 3, .data = 2, .pipeline = 2};
  EXPECT_EQ(coordinates_of(layout, 1), (Coordinates{.tensor = 1}));
  EXPECT_EQ(coordinates_of(layout, 2), (Coordinates{.context = 1}));
  EXPECT_EQ(coordinates_of(layout, 6), (Coordinates{.data = 1}));
  EXPECT_EQ(coordinates_of(layout, 12), (Coordinates{.pipeline = 1}));
  EXPECT_EQ(coordinates_of(layout, 23),
            (Coordinates{.tensor = 1, .context = 2, .data = 1, .pipeline = 1}));
}

TEST(Topology, CoordinatesAndRanksAreInverse) {
  for (const Layout& layout : {Layout{}, Layout{.tensor = 8, .data = 64},
                               Layout{.tensor = 2, .context = 3, .data = 4, .pipeline = 5}}) {
    for (int64_t rank = 0; rank < layout.world_size(); ++rank) {
      EXPECT_EQ(rank_of(layout, coordinates_of(layout, rank)), rank);
    }
  }
}

TEST(Topology, GroupsOfEveryAxisCutTheWorldIntoEqualParts) {
  const Layout layout{.tensor = 2, .context = 3, .data = 4, .pipeline = 2};
  const AxisSet sets[] = {{.tensor = true},
                          {.context = true, .data = true},
                          {.tensor = true, .pipeline = true},
                          {.tensor = true, .context = true, .data = true, .pipeline = true}};
  const size_t sizes[] = {2, 12, 4, 48};
  for (size_t i = 0; i < 4; ++i) {
    std::set<std::vector<int64_t>> groups;
    for (int64_t rank = 0; rank < layout.world_size(); ++rank) {
      const auto group = group_ranks(layout, sets[i], rank);
      EXPECT_EQ(group.size(), sizes[i]);
      EXPECT_THAT(group, ::testing::Contains(rank));
      groups.insert(group);
    }
    EXPECT_EQ(groups.size() * sizes[i], 48u);
  }
}

TEST(Topology, MakeLayoutRefusesSizesThatDoNotDivide) {
  Problems problems;
  EXPECT_EQ(make_layout(8, 2, problems), (Layout{.tensor = 2, .data = 4}));
  EXPECT_NO_THROW(problems.raise_if_any());
  make_layout(6, 4, problems);
  try {
    problems.raise_if_any();
    FAIL() << "no error";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("--tensor-model-parallel-size 4"));
    EXPECT_THAT(error.what(), HasSubstr("6 rank(s)"));
  }
}

TEST(ProcessGroups, EveryGroupKnowsItsRanksAndPlace) {
  run_ranks({.tensor = 2, .data = 2}, [](RankContext& ctx) {
    const auto& groups = ctx.groups();
    const int64_t tensor = ctx.rank() % 2, data = ctx.rank() / 2;
    EXPECT_THAT(groups.tensor().ranks, ElementsAre(2 * data, 2 * data + 1));
    EXPECT_THAT(groups.data().ranks, ElementsAre(tensor, tensor + 2));
    EXPECT_EQ(groups.tensor().rank, tensor);
    EXPECT_EQ(groups.data().rank, data);
    EXPECT_EQ(groups.model().ranks, groups.tensor().ranks);
    EXPECT_EQ(groups.world().size(), 4);
    EXPECT_EQ(groups.world().rank, ctx.rank());
  });
}

TEST(ProcessGroups, OneRankAloneHoldsNoCommunicator) {
  const ProcessGroups groups;
  for (const Group* group : {&groups.tensor(), &groups.data(), &groups.model(), &groups.world()}) {
    EXPECT_EQ(group->size(), 1);
    EXPECT_EQ(group->communicator, nullptr);
  }
}

}  // namespace
}  // namespace megalith::testing

// Collectives: results on thread ranks and over gloo, the bypass for one rank, and what they count.
#include "megalith/parallel/collectives.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/numeric.hpp"
#include "support/ranks.hpp"

namespace megalith::testing {
namespace {

using Runner = void (*)(const Layout&, const RankBody&);
constexpr Runner kThreads = [](const Layout& layout, const RankBody& body) {
  run_ranks(layout, body);
};

class Collectives : public ::testing::TestWithParam<Runner> {
 protected:
  static void run(const Layout& layout, const RankBody& body) { GetParam()(layout, body); }
};
INSTANTIATE_TEST_SUITE_P(ThreadRanksAndGloo, Collectives,
                         ::testing::Values(kThreads, run_gloo_ranks));

TEST_P(Collectives, AllReduceSumMaxMin) {
  for (const int64_t size : {2, 3, 4}) {
    run({.tensor = size}, [&](RankContext& ctx) {
      const auto& group = ctx.groups().tensor();
      for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16, at::kLong}) {
        const at::Tensor mine = at::arange(7).to(dtype).view({7, 1}) * (ctx.rank() + 1);
        at::Tensor sum = mine.clone(), max = mine.clone(), min = mine.clone();
        all_reduce(sum, group);
        all_reduce(max, group, Reduction::kMax);
        all_reduce(min, group, Reduction::kMin);
        const at::Tensor unit = at::arange(7).to(dtype).view({7, 1});
        expect_equal(sum, unit * (size * (size + 1) / 2), "sum");
        expect_equal(max, unit * size, "max");
        expect_equal(min, unit, "min");
      }
    });
  }
}

TEST_P(Collectives, SumIsTheSameBitsOnEveryRank) {
  std::vector<at::Tensor> sums(4);
  run({.tensor = 4}, [&](RankContext& ctx) {
    at::Tensor x = normal({1001}, 10 + ctx.rank()).to(at::kFloat);
    all_reduce(x, ctx.groups().tensor());
    sums[ctx.rank()] = x;
  });
  for (const auto& sum : sums) expect_equal(sum, sums[0]);
}

TEST_P(Collectives, AsynchronousFormAndManyInFlight) {
  run({.tensor = 2, .data = 2}, [](RankContext& ctx) {
    std::vector<at::Tensor> tensors;
    std::vector<PendingCollective> pending;
    for (int64_t i = 0; i < 20; ++i) {
      tensors.push_back(at::full({i + 1}, double(ctx.rank()), at::kDouble));
      const auto& group = i % 2 == 0 ? ctx.groups().tensor() : ctx.groups().data();
      pending.push_back(all_reduce_async(tensors.back(), group));
    }
    for (auto& one : pending) one.wait();
    for (auto& one : pending) one.wait();  // waiting again does nothing
    const double by_tensor = double(ctx.rank() / 2 * 4 + 1),
                 by_data = double(ctx.rank() % 2 * 2 + 2);
    for (int64_t i = 0; i < 20; ++i) {
      expect_equal(tensors[i], at::full({i + 1}, i % 2 == 0 ? by_tensor : by_data, at::kDouble));
    }
  });
}

TEST_P(Collectives, AllGatherStacksInRankOrder) {
  run({.tensor = 3}, [](RankContext& ctx) {
    const at::Tensor mine = at::arange(4).view({2, 2}).t() + 10 * ctx.rank();  // not contiguous
    const at::Tensor all = all_gather(mine, ctx.groups().tensor());
    for (int64_t r = 0; r < 3; ++r) expect_equal(all[r], at::arange(4).view({2, 2}).t() + 10 * r);
  });
}

TEST_P(Collectives, BroadcastFromEachSource) {
  run({.tensor = 3}, [](RankContext& ctx) {
    for (int64_t source = 0; source < 3; ++source) {
      at::Tensor x = at::full({5}, ctx.rank());
      broadcast(x, ctx.groups().tensor(), source);
      expect_equal(x, at::full({5}, source));
    }
  });
}

TEST_P(Collectives, OneRankNeedsNoTraffic) {
  run({}, [](RankContext& ctx) {
    const auto& group = ctx.groups().tensor();
    at::Tensor x = at::arange(3);
    all_reduce(x, group, Reduction::kMax);
    broadcast(x, group, 0);
    barrier(group);
    expect_equal(x, at::arange(3));
    expect_equal(all_gather(x, group), at::arange(3).unsqueeze(0));
    EXPECT_TRUE(ctx.groups().traffic()->entries.empty());
  });
}

TEST_P(Collectives, TrafficCountsCallsAndBytesByOperationAndGroup) {
  run({.tensor = 2, .data = 2}, [](RankContext& ctx) {
    at::Tensor x = at::zeros({3, 4}, at::kDouble);
    all_reduce(x, ctx.groups().tensor());
    all_reduce(x, ctx.groups().tensor());
    all_gather(x, ctx.groups().data());
    const auto& entries = ctx.groups().traffic()->entries;
    ASSERT_EQ(entries.size(), 2u);
    EXPECT_EQ(entries.at("all_reduce tensor").calls, 2);
    EXPECT_EQ(entries.at("all_reduce tensor").bytes, 2 * 96);
    EXPECT_EQ(entries.at("all_gather data").bytes, 96);
  });
}

TEST_P(Collectives, AllReduceRefusesWhatItWouldReduceWrongly) {
  run({.tensor = 2}, [](RankContext& ctx) {
    at::Tensor transposed = at::zeros({3, 4}).t();
    EXPECT_THROW(all_reduce(transposed, ctx.groups().tensor()), c10::Error);
  });
}

}  // namespace
}  // namespace megalith::testing

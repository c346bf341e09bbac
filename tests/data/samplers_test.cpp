#include "megalith/data/samplers.hpp"

#include <gtest/gtest.h>

#include <set>

#include "megalith/core/error.hpp"
#include "tests/data/golden_json.hpp"

namespace megalith {
namespace {

using testing::golden;
using testing::Json;

SamplerOptions options_of(const Json& row, int64_t replica) {
  return {.kind = row.at("kind") == "cyclic" ? LoaderKind::kCyclic : LoaderKind::kSingle,
          .num_samples = row.at("total"),
          .consumed_samples = row.value("consumed", int64_t{0}),
          .micro_batch_size = row.value("micro_batch", int64_t{1}),
          .replica_index = replica,
          .replica_count = row.at("dp"),
          .data_sharding = row.value("data_sharding", true),
          .drop_last = row.value("drop_last", row.at("kind") == "cyclic")};
}

/// Up to the end, or, cyclic, to the end of the epoch.
std::vector<std::vector<int64_t>> batches(const SamplerOptions& options) {
  Sampler sampler(options);
  const bool cyclic = options.kind == LoaderKind::kCyclic;
  const int64_t epoch = cyclic ? sampler.epoch() : 0;
  std::vector<std::vector<int64_t>> all;
  while (!cyclic || sampler.epoch() == epoch) {
    auto batch = sampler.next();
    if (!batch) break;
    all.push_back(std::move(*batch));
  }
  return all;
}

TEST(Sampler, GivesUpstreamsBatches) {
  const Json file = golden("sampler.json");
  ASSERT_EQ(file.at("cases").size(), 20U);
  for (const auto& row : file.at("cases")) {
    for (int64_t replica = 0; replica < row.at("dp").get<int64_t>(); ++replica) {
      SCOPED_TRACE(row.dump().substr(0, 120) + " replica " + std::to_string(replica));
      auto all = batches(options_of(row, replica));
      // One sample at a time: upstream leaves out what we give as an empty last batch.
      if (row.at("kind") == "full_validation") {
        std::erase_if(all, [](const auto& batch) { return batch.empty(); });
      }
      EXPECT_EQ(Json(all), row.at("batches_per_rank")[static_cast<size_t>(replica)]);
    }
  }
}

TEST(Sampler, ResumesAtAnyStep) {
  for (const LoaderKind kind : {LoaderKind::kSingle, LoaderKind::kCyclic}) {
    for (const bool sharding : {true, false}) {
      const SamplerOptions options{.kind = kind,
                                   .num_samples = 23,
                                   .micro_batch_size = 2,
                                   .replica_index = 1,
                                   .replica_count = 3,
                                   .data_sharding = sharding,
                                   .wrap = true};
      Sampler whole(options);
      for (int step = 0; step < 12; ++step) {
        SamplerOptions later = options;
        later.consumed_samples = whole.consumed_samples();
        EXPECT_EQ(Sampler(later).next(), whole.next()) << step;
      }
    }
  }
}

TEST(Sampler, RefusesStepsLargerThanTheData) {
  SamplerOptions options{.num_samples = 3, .micro_batch_size = 2, .replica_count = 2, .wrap = true};
  EXPECT_THROW(Sampler{options}, UsageError);
  options.wrap = false;
  EXPECT_EQ(Sampler(options).next(), std::nullopt);
  options.kind = LoaderKind::kCyclic;
  EXPECT_THROW(Sampler{options}, UsageError);
}

TEST(Sampler, RefusesACountBetweenSteps) {
  SamplerOptions options{.kind = LoaderKind::kCyclic,
                         .num_samples = 40,
                         .consumed_samples = 6,
                         .micro_batch_size = 2,
                         .replica_count = 2};
  EXPECT_THROW(Sampler{options}, UsageError);
  options.kind = LoaderKind::kSingle;
  EXPECT_EQ(Sampler(options).next(), (std::vector<int64_t>{6, 7}));
}

TEST(Sampler, AnEpochOfACyclicOrderHasNoSampleTwice) {
  SamplerOptions options{
      .kind = LoaderKind::kCyclic, .num_samples = 29, .micro_batch_size = 2, .replica_count = 3};
  for (const bool sharding : {true, false}) {
    options.data_sharding = sharding;
    std::multiset<int64_t> seen;
    for (int64_t replica = 0; replica < 3; ++replica) {
      options.replica_index = replica;
      for (const auto& batch : batches(options)) seen.insert(batch.begin(), batch.end());
    }
    EXPECT_EQ(seen.size(), 24U);
    EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), 24U);
  }
}

}  // namespace
}  // namespace megalith

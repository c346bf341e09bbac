// Batch sizes and micro-batch counts against upstream: tests/golden/upstream/micro_batches.json,
// its constant and ramp-up rows (the threshold:batch rows belong to a flag that is not offered).
#include "megalith/optimizer/batch_size.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace megalith {
namespace {

nlohmann::json golden_cases(const std::string& kind) {
  std::ifstream file(MEGALITH_SOURCE_DIR "/tests/golden/upstream/micro_batches.json");
  const auto golden = nlohmann::json::parse(file);
  nlohmann::json selected = nlohmann::json::array();
  for (const auto& row : golden["cases"]) {
    if (row["kind"] == kind) selected.push_back(row);
  }
  return selected;
}

BatchSizeConfig config_of(const nlohmann::json& row) {
  BatchSizeConfig config;
  config.micro_batch_size = row["micro_batch"].get<int64_t>();
  config.global_batch_size = row["global_batch"].get<int64_t>();
  config.decrease_batch_size_if_needed = row["decrease_if_needed"];
  if (row.contains("start")) {
    config.rampup_batch_size = {row["start"], row["increment"], row["samples"]};
  }
  return config;
}

TEST(BatchSizeSchedule, ConstantRowsOfUpstream) {
  const auto cases = golden_cases("constant");
  ASSERT_EQ(cases.size(), 6);
  for (const auto& row : cases) {
    SCOPED_TRACE(row.dump());
    const BatchSizeConfig config = config_of(row);
    if (row.contains("refused")) {
      EXPECT_THROW(BatchSizeSchedule(config, row["dp"]), UsageError);
      continue;
    }
    const BatchSizeSchedule schedule(config, row["dp"]);
    for (const int64_t consumed : {int64_t{0}, int64_t{1}, int64_t{1} << 40}) {
      EXPECT_EQ(schedule.num_micro_batches(consumed), row["micro_batches"]);
      EXPECT_EQ(schedule.global_batch(consumed), row["running_global_batch"]);
      EXPECT_EQ(schedule.scheduled_global_batch(consumed), row["global_batch_now"]);
    }
  }
}

TEST(BatchSizeSchedule, RampUpRowsOfUpstream) {
  const auto cases = golden_cases("rampup");
  ASSERT_EQ(cases.size(), 3);
  for (const auto& row : cases) {
    const BatchSizeSchedule schedule(config_of(row), row["dp"]);
    for (const auto& value : row["values"]) {
      SCOPED_TRACE(value.dump());
      EXPECT_EQ(schedule.scheduled_global_batch(value[0]), value[1]);
      EXPECT_EQ(schedule.global_batch(value[0]), value[2]);
      EXPECT_EQ(schedule.num_micro_batches(value[0]), value[3]);
    }
  }
}

TEST(BatchSizeSchedule, GlobalBatchDefaultsToOneMicroBatchPerRank) {
  BatchSizeConfig config;
  config.micro_batch_size = 4;
  const BatchSizeSchedule schedule(config, 8);
  EXPECT_EQ(schedule.global_batch(0), 32);
  EXPECT_EQ(schedule.num_micro_batches(0), 1);
}

TEST(BatchSizeSchedule, CountsIterations) {
  BatchSizeConfig config;
  config.micro_batch_size = 2;
  config.global_batch_size = 8;
  EXPECT_EQ(BatchSizeSchedule(config, 2).num_iterations(83), 10);
  // 4 up to 19 samples, 8 from 20 on: consumed runs 0 4 8 12 16 | 20 28 36 ...
  config.rampup_batch_size = {4, 4, 20};
  const BatchSizeSchedule ramp(config, 2);
  EXPECT_EQ(ramp.num_iterations(3), 0);
  EXPECT_EQ(ramp.num_iterations(20), 5);
  EXPECT_EQ(ramp.num_iterations(27), 5);
  EXPECT_EQ(ramp.num_iterations(28), 6);
  EXPECT_EQ(ramp.num_iterations(100), 15);
  EXPECT_EQ(ramp.final_global_batch(), 8);
}

TEST(BatchSizeConfig, EachMistakeIsNamed) {
  const auto problem_of = [](const BatchSizeConfig& config, bool by_iterations) {
    Problems problems;
    config.check(3, by_iterations, problems);
    return problems.texts().size() == 1 ? problems.texts()[0]
                                        : fmt::format("{} problems", problems.texts().size());
  };
  const auto expect = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  BatchSizeConfig config;
  expect(problem_of(config, true), "--micro-batch-size is missing");
  config.micro_batch_size = 8;
  config.global_batch_size = 100;
  expect(problem_of(config, true),
         "--global-batch-size 100 is not divisible by --micro-batch-size 8 x 3 data-parallel ranks "
         "= 24: try 96 or 120");
  config.global_batch_size = 96;
  config.rampup_batch_size = {24, 24, 1000};
  expect(problem_of(config, true), "does not go with --train-iters");
  EXPECT_EQ(problem_of(config, false), "0 problems");
  config.rampup_batch_size = {24, 48, 1000};
  expect(problem_of(config, false), "is never met: choose an increment that divides 72");
  config.rampup_batch_size = {120, 24, 1000};
  expect(problem_of(config, false), "starts at 120, above the global batch size 96");
  config.rampup_batch_size = {24, 12, 1000};
  expect(problem_of(config, false), "the increment of --rampup-batch-size 12 is not divisible");
  config.rampup_batch_size = {24, 24};
  expect(problem_of(config, false), "three whole numbers of at least 1");
  config = {.micro_batch_size = 8,
            .global_batch_size = 7,
            .rampup_batch_size = {},
            .decrease_batch_size_if_needed = true};
  expect(problem_of(config, false), "--global-batch-size 7 is below --micro-batch-size 8 x 3");
}

}  // namespace
}  // namespace megalith

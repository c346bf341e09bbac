// The curves of the learning rate and the weight decay against upstream's tables, bit for bit, and
// the way from flags to lengths in samples. Golden numbers: tests/golden/upstream/lr_schedule.json.
#include "megalith/optimizer/learning_rate.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

namespace megalith {
namespace {

nlohmann::json golden() {
  std::ifstream file(MEGALITH_SOURCE_DIR "/tests/golden/upstream/lr_schedule.json");
  return nlohmann::json::parse(file);
}

/// Sets one flag through the field listing, as the command line does.
void set(LearningRateConfig& config, const std::string& name, const std::string& word) {
  for (const auto& field : config.fields()) {
    if (field.name != name) continue;
    const auto problem = set_field(field, {word});
    ASSERT_FALSE(problem) << *problem;
    return;
  }
  FAIL() << "no field " << name;
}

LearningRateConfig config_of(const std::map<std::string, std::string>& flags) {
  LearningRateConfig config;
  for (const auto& [name, word] : flags) set(config, name, word);
  return config;
}

std::vector<std::string> problems_of(const std::map<std::string, std::string>& flags,
                                     const TrainingLength& length) {
  Problems problems;
  resolve_parameter_schedule(config_of(flags), length, problems);
  return problems.texts();
}

ParameterScheduleOptions options_of(const nlohmann::json& row) {
  LearningRateConfig config;
  set(config, "lr-decay-style", row["style"]);
  set(config, "weight-decay-incr-style", row["wd_incr_style"]);
  if (!row["wsd_decay_style"].is_null()) set(config, "lr-wsd-decay-style", row["wsd_decay_style"]);
  ParameterScheduleOptions options;
  options.style = config.lr_decay_style;
  options.init_lr = row["init_lr"];
  options.max_lr = row["max_lr"];
  options.min_lr = row["min_lr"];
  options.warmup_samples = row["warmup_steps"];
  options.decay_samples = row["decay_steps"];
  options.wsd_style = config.lr_wsd_decay_style;
  if (!row["wsd_decay_steps"].is_null()) options.wsd_decay_samples = row["wsd_decay_steps"];
  options.weight_decay_style = config.weight_decay_incr_style;
  options.start_weight_decay = row["start_wd"];
  options.end_weight_decay = row["end_wd"];
  options.weight_decay_samples = row["wd_incr_steps"];
  return options;
}

TEST(ParameterSchedule, EqualsUpstreamsTablesBitForBit) {
  const auto cases = golden()["cases"];
  ASSERT_EQ(cases.size(), 10);
  for (const auto& row : cases) {
    const ParameterSchedule schedule(options_of(row));
    ASSERT_GT(row["values"].size(), 10);
    for (const auto& value : row["values"]) {
      const int64_t samples = value[0];
      EXPECT_EQ(schedule.learning_rate(samples), value[1].get<double>())
          << row["name"] << " at " << samples;
      EXPECT_EQ(schedule.weight_decay(samples), value[2].get<double>())
          << row["name"] << " at " << samples;
    }
  }
}

TEST(ResolveParameterSchedule, PapersFlagsInIterationsGiveTheGoldenCurve) {
  Problems problems;
  const auto options = resolve_parameter_schedule(
      config_of({{"lr", "1.5e-4"},
                 {"min-lr", "1e-5"},
                 {"lr-decay-style", "cosine"},
                 {"lr-warmup-iters", "3000"}}),
      {.iters = 300000, .samples = std::nullopt, .global_batch_size = 512}, problems);
  EXPECT_TRUE(problems.empty());
  EXPECT_EQ(options.warmup_samples, 1536000);
  EXPECT_EQ(options.decay_samples, 153600000);
  EXPECT_EQ(options.weight_decay_samples, 153600000);
  const auto row = golden()["cases"][0];
  ASSERT_EQ(row["name"], "gpt2_paper_cosine");
  const ParameterSchedule schedule(options);
  for (const auto& value : row["values"]) {
    EXPECT_EQ(schedule.learning_rate(value[0]), value[1].get<double>());
    EXPECT_EQ(schedule.weight_decay(value[0]), value[2].get<double>());
  }
}

TEST(ResolveParameterSchedule, DecayMayBeShorterThanTheRun) {
  Problems problems;
  const auto options = resolve_parameter_schedule(
      config_of({{"lr", "1e-3"}, {"lr-decay-iters", "100"}, {"lr-warmup-fraction", "0.01"}}),
      {.iters = 500, .samples = std::nullopt, .global_batch_size = 8}, problems);
  EXPECT_TRUE(problems.empty());
  EXPECT_EQ(options.decay_samples, 800);
  EXPECT_EQ(options.warmup_samples, 8);
  EXPECT_EQ(options.weight_decay_samples, 4000);
}

TEST(ResolveParameterSchedule, SamplesAreTakenAsTheyAre) {
  Problems problems;
  const auto options = resolve_parameter_schedule(
      config_of({{"lr", "2e-4"},
                 {"min-lr", "1e-6"},
                 {"lr-warmup-init", "1e-6"},
                 {"weight-decay", "0"},
                 {"lr-warmup-fraction", "0.01"}}),
      {.iters = std::nullopt, .samples = 12345, .global_batch_size = 7}, problems);
  EXPECT_TRUE(problems.empty());
  EXPECT_EQ(options.decay_samples, 12345);
  EXPECT_EQ(options.warmup_samples, 123.45);
  const auto row = golden()["cases"][9];
  ASSERT_EQ(row["name"], "linear_fractional_warmup");
  for (const auto& value : row["values"]) {
    EXPECT_EQ(ParameterSchedule(options).learning_rate(value[0]), value[1].get<double>());
  }
}

TEST(ResolveParameterSchedule, WsdAndGrowingWeightDecay) {
  Problems problems;
  const auto options = resolve_parameter_schedule(
      config_of({{"lr", "6e-4"},
                 {"lr-decay-style", "WSD"},
                 {"lr-wsd-decay-style", "minus_sqrt"},
                 {"lr-wsd-decay-iters", "100"},
                 {"start-weight-decay", "0"},
                 {"end-weight-decay", "0.1"},
                 {"weight-decay-incr-style", "linear"}}),
      {.iters = 500, .samples = std::nullopt, .global_batch_size = 4}, problems);
  EXPECT_TRUE(problems.empty());
  const ParameterSchedule schedule(options);
  EXPECT_EQ(schedule.learning_rate(1600), 6e-4);
  EXPECT_EQ(schedule.learning_rate(1700), 6e-4 * 0.5);  // 1 - sqrt(1/4)
  EXPECT_EQ(schedule.weight_decay(1000), 0.05);
}

TEST(ResolveParameterSchedule, EachMistakeIsNamed) {
  const TrainingLength iters = {.iters = 100, .samples = std::nullopt, .global_batch_size = 4};
  const TrainingLength samples = {.iters = std::nullopt, .samples = 100, .global_batch_size = 4};
  const auto expect_one = [](const std::vector<std::string>& texts, const std::string& part) {
    ASSERT_EQ(texts.size(), 1) << fmt::format("{}", fmt::join(texts, "\n"));
    EXPECT_NE(texts[0].find(part), std::string::npos) << texts[0];
  };
  expect_one(problems_of({}, iters), "--lr is missing");
  expect_one(problems_of({{"lr", "1"}, {"min-lr", "2"}}, iters), "--min-lr 2 is above --lr 1");
  expect_one(problems_of({{"lr", "1"}, {"lr-warmup-init", "2"}}, iters), "--lr-warmup-init 2");
  expect_one(problems_of({{"lr", "1"}, {"lr-decay-samples", "9"}}, iters), "--lr-decay-samples 9");
  expect_one(problems_of({{"lr", "1"}, {"lr-warmup-samples", "9"}}, iters),
             "--lr-warmup-samples 9");
  expect_one(problems_of({{"lr", "1"}, {"lr-decay-iters", "9"}}, samples), "--lr-decay-iters 9");
  expect_one(problems_of({{"lr", "1"}, {"lr-warmup-iters", "9"}}, samples), "--lr-warmup-iters 9");
  expect_one(
      problems_of({{"lr", "1"}, {"lr-warmup-iters", "9"}, {"lr-warmup-fraction", "0.1"}}, iters),
      "given twice");
  expect_one(problems_of({{"lr", "1"}, {"lr-warmup-iters", "100"}}, iters),
             "warm-up of 400 samples");
  expect_one(problems_of({{"lr", "1"}, {"lr-decay-style", "WSD"}}, iters),
             "give --lr-wsd-decay-iters");
  expect_one(problems_of({{"lr", "1"}, {"lr-decay-style", "WSD"}}, samples),
             "give --lr-wsd-decay-samples");
  expect_one(problems_of({{"lr", "1"}, {"lr-wsd-decay-iters", "5"}}, iters), "not WSD");
  expect_one(
      problems_of({{"lr", "1"}, {"lr-decay-style", "WSD"}, {"lr-wsd-decay-iters", "101"}}, iters),
      "404 samples");
  expect_one(problems_of({{"lr", "1"}, {"start-weight-decay", "0.1"}}, iters), "got constant");
  expect_one(problems_of({{"lr", "1"}, {"weight-decay-incr-style", "cosine"}}, iters),
             "needs both");
  expect_one(problems_of({{"lr", "1"},
                          {"weight-decay-incr-style", "cosine"},
                          {"start-weight-decay", "0.2"},
                          {"end-weight-decay", "0.1"}},
                         iters),
             "can only grow");
}

TEST(ResolveParameterSchedule, MistakesAreReportedTogether) {
  EXPECT_EQ(
      problems_of({{"min-lr", "2"}, {"lr-warmup-samples", "9"}, {"lr-warmup-fraction", "0.1"}},
                  {.iters = 100, .samples = std::nullopt, .global_batch_size = 4})
          .size(),
      3);
}

}  // namespace
}  // namespace megalith

// The dynamic loss scale against upstream's traces: tests/golden/upstream/loss_scale.json.
#include "megalith/optimizer/loss_scaler.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace megalith {
namespace {

LossScaleConfig config_of(const nlohmann::json& row) {
  LossScaleConfig config;
  config.initial_loss_scale = row["initial"];
  config.min_loss_scale = row["minimum"];
  config.loss_scale_window = row["window"];
  config.hysteresis = row["hysteresis"];
  return config;
}

nlohmann::json golden_cases() {
  std::ifstream file(MEGALITH_SOURCE_DIR "/tests/golden/upstream/loss_scale.json");
  return nlohmann::json::parse(file)["cases"];
}

TEST(LossScaler, FollowsUpstreamsTraces) {
  const auto cases = golden_cases();
  ASSERT_EQ(cases.size(), 3);
  for (const auto& row : cases) {
    LossScaler scaler(config_of(row), true);
    const std::string pattern = row["pattern"];
    ASSERT_EQ(pattern.size(), row["values"].size());
    for (size_t i = 0; i < pattern.size(); ++i) {
      scaler.update(pattern[i] == 'x');
      const auto& value = row["values"][i];
      EXPECT_EQ(scaler.state(), (LossScalerState{value[0], value[1], value[2]}))
          << row["name"] << " step " << i;
    }
  }
}

TEST(LossScaler, ContinuesFromItsStateAsIfNeverStopped) {
  for (const auto& row : golden_cases()) {
    const std::string pattern = row["pattern"];
    for (size_t cut = 0; cut <= pattern.size(); ++cut) {
      LossScaler before(config_of(row), true);
      for (size_t i = 0; i < cut; ++i) before.update(pattern[i] == 'x');
      LossScaler after(config_of(row), true);
      after.restore(before.state());
      for (size_t i = cut; i < pattern.size(); ++i) after.update(pattern[i] == 'x');
      EXPECT_EQ(after.scale(), row["values"].back()[0].get<double>()) << row["name"] << " " << cut;
    }
  }
}

TEST(LossScaler, DefaultsAreUpstreams) {
  LossScaler scaler(LossScaleConfig{}, true);
  EXPECT_TRUE(scaler.is_dynamic());
  EXPECT_EQ(scaler.state(), (LossScalerState{4294967296.0, 0, 2}));
  for (int i = 0; i < 1000; ++i) scaler.update(false);
  EXPECT_EQ(scaler.scale(), 8589934592.0);
}

TEST(LossScaler, ConstantScalesStay) {
  LossScaleConfig config;
  config.loss_scale = 128;
  for (LossScaler scaler :
       {LossScaler(config, true), LossScaler(LossScaleConfig{}, false), LossScaler()}) {
    const double scale = scaler.scale();
    EXPECT_FALSE(scaler.is_dynamic());
    scaler.update(true);
    for (int i = 0; i < 2000; ++i) scaler.update(false);
    scaler.restore({4.0, 1, 1});
    EXPECT_EQ(scaler.scale(), scale);
  }
  EXPECT_EQ(LossScaler(config, true).scale(), 128);
  EXPECT_EQ(LossScaler().scale(), 1);
}

TEST(LossScaleConfig, MistakesAreNamed) {
  LossScaleConfig config;
  config.loss_scale = 128;
  config.initial_loss_scale = 0.5;
  Problems problems;
  config.check(false, problems);
  ASSERT_EQ(problems.texts().size(), 2);
  EXPECT_NE(problems.texts()[0].find("--loss-scale 128 needs --fp16"), std::string::npos);
  EXPECT_NE(problems.texts()[1].find("below --min-loss-scale 1"), std::string::npos);
  Problems none;
  LossScaleConfig{}.check(true, none);
  EXPECT_TRUE(none.empty());
}

}  // namespace
}  // namespace megalith

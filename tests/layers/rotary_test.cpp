// Rotary frequencies of every kind equal transformers' (tests/oracles/hugging_face_reference.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "megalith/layers/model_config.hpp"
#include "support/golden.hpp"

namespace megalith::testing {
namespace {

RopeScaling scaling_of(const nlohmann::json& rope) {
  RopeScaling scaling;
  const std::string kind = rope.at("rope_type");
  for (auto& field : scaling.fields()) {
    if (field.name == "rope-scaling-type") {
      EXPECT_FALSE(set_field(field, {kind == "default" ? "none" : kind}));
    }
  }
  if (rope.contains("factor")) scaling.factor_flag = rope["factor"].get<double>();
  if (rope.contains("original_max_position_embeddings")) {
    scaling.original_positions_flag = rope["original_max_position_embeddings"].get<int64_t>();
  }
  scaling.low_frequency_factor = rope.value("low_freq_factor", 1.0);
  scaling.high_frequency_factor = rope.value("high_freq_factor", 4.0);
  scaling.beta_fast = rope.value("beta_fast", 32.0);
  scaling.beta_slow = rope.value("beta_slow", 1.0);
  if (rope.contains("attention_factor")) scaling.attention_factor_flag = rope["attention_factor"];
  return scaling;
}

TEST(Rotary, FrequenciesEqualTransformersInEveryKind) {
  const auto cases = read_golden_json("hugging_face/rope_frequencies.json");
  ASSERT_EQ(cases.size(), 9u);
  for (const auto& [name, golden] : cases.items()) {
    const RopeScaling scaling = scaling_of(golden.at("rope"));
    const double base = golden.at("rope").at("rope_theta");
    Problems problems;
    scaling.check(base, problems);
    EXPECT_TRUE(problems.empty()) << name;
    const auto ours = rotary_frequencies(golden.at("size"), base, scaling);
    const auto theirs = golden.at("frequencies").get<std::vector<double>>();
    ASSERT_EQ(ours.size(), theirs.size()) << name;
    // Theirs are computed in fp32, powers included.
    for (size_t i = 0; i < ours.size(); ++i) {
      EXPECT_NEAR(ours[i] / theirs[i], 1, 2e-6) << name << " " << i;
    }
    if (name != "yarn-mscale") {  // mscale becomes an attention factor when a config.json is read
      EXPECT_NEAR(scaling.attention_factor(), golden.at("factor").get<double>(), 1e-12) << name;
    }
  }
}

TEST(Rotary, SettingsThatTheKindDoesNotReadAreRefused) {
  const auto mistakes = [](const RopeScaling& scaling) {
    Problems problems;
    scaling.check(10000, problems);
    return problems.texts().size();
  };
  RopeScaling scaling;
  scaling.factor_flag = 2;
  scaling.beta_fast = 20;
  scaling.original_positions_flag = 8;
  scaling.attention_factor_flag = 1.1;
  EXPECT_EQ(mistakes(scaling), 4u);
  scaling.type = RopeScalingType::kYarn;
  EXPECT_EQ(mistakes(scaling), 0u);
  scaling.low_frequency_factor = 2;
  EXPECT_EQ(mistakes(scaling), 1u);
  scaling = {};
  scaling.type = RopeScalingType::kLinear;
  EXPECT_EQ(mistakes(scaling), 1u);
  scaling.type = RopeScalingType::kYarn;
  EXPECT_EQ(mistakes(scaling), 2u);
  scaling.type = RopeScalingType::kLlama3;
  EXPECT_EQ(mistakes(scaling), 0u);
  scaling.high_frequency_factor = 1;
  EXPECT_EQ(mistakes(scaling), 1u);
}

}  // namespace
}  // namespace megalith::testing

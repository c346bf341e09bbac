// The rules of sampling against NumPy and transformers (tests/oracles/sampling_reference.py), and
// the law and independence of the draws.
#include "megalith/generation/sampling.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "support/golden.hpp"

namespace megalith {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

const nlohmann::json& golden() {
  static const auto file = testing::read_golden_json("sampling.json");
  return file;
}

std::vector<double> golden_row(const nlohmann::json& entry) {
  std::vector<double> logits;
  for (const auto& value : golden().at("rows").at(entry.at("row").get<size_t>())) {
    logits.push_back(value.is_null() ? -kInfinity : value.get<double>());
  }
  return logits;
}

SamplingConfig golden_config(const nlohmann::json& entry) {
  SamplingConfig config;
  config.temperature = entry.at("temperature");
  config.top_k = entry.at("top_k");
  config.top_p = entry.at("top_p");
  return config;
}

TEST(Sampling, CandidatesAreTheReferences) {
  for (const auto& entry : golden().at("filters")) {
    SCOPED_TRACE(entry.dump());
    const auto candidates = sampling_candidates(golden_row(entry), golden_config(entry));
    std::vector<int64_t> tokens;
    for (const auto& candidate : candidates) tokens.push_back(candidate.token);
    ASSERT_EQ(tokens, entry.at("tokens").get<std::vector<int64_t>>());
    for (size_t i = 0; i < candidates.size(); ++i) {
      EXPECT_NEAR(candidates[i].probability, entry.at("probabilities")[i].get<double>(), 1e-14);
    }
  }
}

TEST(Sampling, DrawsAreTheReferences) {
  for (const auto& entry : golden().at("draws")) {
    SCOPED_TRACE(entry.dump());
    SamplingConfig config = golden_config(entry);
    config.seed = entry.at("seed");
    const auto ids = entry.at("prompt_ids").get<std::vector<int32_t>>();
    EXPECT_EQ(pick_token(golden_row(entry), config,
                         {.prompt = prompt_key(ids),
                          .sample = entry.at("sample"),
                          .position = entry.at("position")}),
              entry.at("token").get<int64_t>());
  }
}

TEST(Sampling, DrawsFollowTheProbabilities) {
  const std::vector<double> logits{1.0, -0.5, 2.0, 0.0, -kInfinity, 1.5, -3.0};
  for (const double top_p : {0.0, 0.8}) {
    SamplingConfig config;
    config.temperature = 1.3;
    config.top_p = top_p;
    constexpr int64_t kDraws = 40000;
    std::vector<int64_t> counts(logits.size());
    for (int64_t i = 0; i < kDraws; ++i) {
      ++counts[pick_token(logits, config, {.prompt = 5, .sample = i % 4, .position = i / 4})];
    }
    int64_t counted = 0;
    for (const auto& [token, probability] : sampling_candidates(logits, config)) {
      const double deviation = std::sqrt(kDraws * probability * (1 - probability));
      EXPECT_NEAR(static_cast<double>(counts[token]), kDraws * probability, 4.5 * deviation)
          << "token " << token;
      counted += counts[token];
    }
    EXPECT_EQ(counted, kDraws);
  }
}

TEST(Sampling, EveryPartOfTheKeyMatters) {
  const std::vector<double> logits(1000, 0.0);
  SamplingConfig config, other;
  other.seed = config.seed + 1;
  const int64_t token = pick_token(logits, config, {1, 2, 3});
  EXPECT_EQ(pick_token(logits, config, {1, 2, 3}), token);
  EXPECT_NE(pick_token(logits, other, {1, 2, 3}), token);
  EXPECT_NE(pick_token(logits, config, {9, 2, 3}), token);
  EXPECT_NE(pick_token(logits, config, {1, 9, 3}), token);
  EXPECT_NE(pick_token(logits, config, {1, 2, 9}), token);
  EXPECT_NE(prompt_key(std::vector<int32_t>{0}), prompt_key(std::vector<int32_t>{0, 0}));
  EXPECT_NE(prompt_key(std::vector<int32_t>{1, 2}), prompt_key(std::vector<int32_t>{2, 1}));
}

TEST(Sampling, GreedyTakesTheLowestOfEquals) {
  const std::vector<double> logits{0.0, 3.0, 3.0, -kInfinity};
  SamplingConfig greedy, cold, one;
  greedy.greedy = true;
  cold.temperature = 0;
  one.top_k = 1;
  for (const auto& config : {greedy, cold, one}) {
    EXPECT_EQ(pick_token(logits, config, {}), 1);
  }
}

TEST(Sampling, LogitsThatAreNoNumbersAreRefused) {
  for (const double bad : {std::nan(""), kInfinity}) {
    const std::vector<double> logits{0.0, bad, 1.0};
    SamplingConfig config;
    EXPECT_THROW(pick_token(logits, config, {}), RunError);
    config.greedy = true;
    EXPECT_THROW(pick_token(logits, config, {}), RunError);
  }
}

TEST(Sampling, FlagsThatExcludeEachOther) {
  Problems problems;
  SamplingConfig config;
  config.top_k = 5;
  config.top_p = 0.5;
  config.check(problems);
  EXPECT_TRUE(problems.empty());
  config.greedy = true;
  config.temperature = 0.7;
  config.check(problems);
  EXPECT_EQ(problems.texts().size(), 3u);
}

}  // namespace
}  // namespace megalith

#include "megalith/data/blending.hpp"

#include <gtest/gtest.h>

#include "megalith/core/error.hpp"
#include "megalith/data/blended_dataset.hpp"
#include "megalith/data/gpt_dataset.hpp"
#include "tests/data/fixed_tokens.hpp"
#include "tests/data/golden_json.hpp"

namespace megalith {
namespace {

using testing::golden;
using testing::Json;

void expect_index(const BlendIndex& index, const Json& row) {
  testing::expect_array(index.dataset, row.at("dataset_index"));
  testing::expect_array(index.sample, row.at("dataset_sample_index"));
}

void expect_weighted(const Json& row) {
  const auto shares = normalized(row.at("weights").get<std::vector<double>>());
  EXPECT_EQ(shares, row.at("normalized").get<std::vector<double>>());
  EXPECT_EQ(normalized(shares), row.at("normalized_twice").get<std::vector<double>>());
  const BlendIndex index = blend_by_weight(shares, row.at("size"));
  expect_index(index, row);
  EXPECT_EQ(Json(blend_counts(index, shares.size())), row.at("counts"));
}

void expect_asked(const Json& row) {
  const auto shares = normalized(row.at("weights").get<std::vector<double>>());
  EXPECT_EQ(shares, row.at("normalized").get<std::vector<double>>());
  for (size_t i = 0; i < shares.size(); ++i) {
    for (size_t split = 0; split < 3; ++split) {
      const auto target = row.at("targets")[split].get<int64_t>();
      EXPECT_EQ(planned_samples(target, shares[i]), row.at("plan")[i][split].get<int64_t>());
      EXPECT_EQ(samples_to_ask(target, shares[i], row.at("surplus")),
                row.at("asked")[i][split].get<int64_t>());
    }
  }
}

void expect_list(const Json& row) {
  const Blend blend = parse_blend(row.at("items").get<std::vector<std::string>>(), "data-path");
  EXPECT_EQ(Json(blend.prefixes), row.at("prefixes"));
  EXPECT_EQ(blend.weights ? Json(*blend.weights) : Json(nullptr), row.at("weights"));
}

TEST(Blending, ArraysSizesAndListsAreUpstreams) {
  const Json file = golden("blending.json");
  ASSERT_EQ(file.at("cases").size(), 29U);
  for (const auto& row : file.at("cases")) {
    const auto kind = row.at("kind").get<std::string>();
    SCOPED_TRACE(kind + " " + row.value("name", ""));
    if (kind == "weighted") expect_weighted(row);
    if (kind == "asked") expect_asked(row);
    if (kind == "list") expect_list(row);
    if (kind == "exhaustive") {
      expect_index(blend_exhaustively(row.at("sizes").get<std::vector<int64_t>>()), row);
    }
  }
}

TEST(Blending, RefusesListsThatMeanNothing) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{},
                                             {"0.5", "a", "b", "c"},
                                             {"0", "a", "1", "b"},
                                             {"-1", "a"},
                                             {"nan", "a"},
                                             {"inf", "a", "1", "b"}}) {
    EXPECT_THROW(parse_blend(words, "data-path"), UsageError) << fmt::format("{}", words);
  }
}

TEST(Blending, OnePrefixIsABlendOnlyWithAWeight) {
  EXPECT_TRUE(parse_blend({"a"}, "data-path").single());
  EXPECT_FALSE(parse_blend({"1", "a"}, "data-path").single());
  EXPECT_FALSE(parse_blend({"a", "b"}, "data-path").single());
}

TEST(BlendedDataset, RefusesToDrawMoreThanAChildHolds) {
  const auto source = std::make_shared<testing::FixedTokens>(std::vector<int32_t>{9});
  GptIndex index = build_gpt_index(source->sequence_lengths(), {0, 1}, {.sequence_length = 4});
  const auto child = std::make_shared<GptDataset>(source, std::move(index),
                                                  GptSampleOptions{.sequence_length = 4});
  ASSERT_EQ(child->num_samples(), 2);
  EXPECT_NO_THROW(BlendedDataset({child}, blend_by_weight({1.0}, 2)));
  EXPECT_THROW(BlendedDataset({child}, blend_by_weight({1.0}, 3)), UsageError);
}

}  // namespace
}  // namespace megalith

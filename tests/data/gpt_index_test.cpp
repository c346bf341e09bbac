#include "megalith/data/gpt_index.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "megalith/core/error.hpp"
#include "megalith/data/token_source.hpp"
#include "tests/data/golden_json.hpp"

namespace megalith {
namespace {

using testing::golden;
using testing::Json;

GptIndexRequest request_of(const Json& row) {
  const bool valid = row.at("split_name") == "valid";
  return {
      .sequence_length = row.at("sequence_length"),
      .num_samples = testing::optional_integer(row.at("num_samples")),
      .seed = row.at("seed"),
      .add_extra_token = row.at("add_extra_token"),
      .keep_partial_sample = valid && !row.at("drop_last_partial_validation_sequence").get<bool>()};
}

/// Nothing where the lengths lie in a large dataset that is absent.
std::optional<std::vector<int32_t>> lengths_of(const Json& row) {
  if (row.contains("lengths")) return row.at("lengths").get<std::vector<int32_t>>();
  if (row.contains("lengths_lcg")) return testing::lcg_numbers(row.at("lengths_lcg"));
  const auto folder = testing::large_data();
  if (!folder) return std::nullopt;
  const auto source = open_indexed_tokens(*folder + "/" + row.at("dataset").get<std::string>());
  const auto lengths = source->sequence_lengths();
  return std::vector<int32_t>(lengths.begin(), lengths.end());
}

void expect_row(const Json& row, const std::vector<int32_t>& lengths) {
  const auto matrix = split_matrix(parse_split(row.at("split")));
  const auto split = static_cast<size_t>(testing::split_named(row.at("split_name")));
  const Interval interval =
      split_interval(matrix.at(split).value(), static_cast<int64_t>(lengths.size()));
  EXPECT_EQ(interval.first, row.at("range")[0].get<int64_t>());
  EXPECT_EQ(interval.second, row.at("range")[1].get<int64_t>());
  const GptIndex index = build_gpt_index(lengths, interval, request_of(row));
  EXPECT_EQ(index.plan.tokens_per_epoch, row.at("tokens_per_epoch").get<int64_t>());
  EXPECT_EQ(index.plan.num_epochs, row.at("num_epochs").get<int64_t>());
  EXPECT_EQ(index.plan.separate_last_epoch, row.at("separate_last_epoch").get<bool>());
  EXPECT_EQ(index.plan.num_samples, row.at("samples_built").get<int64_t>());
  testing::expect_array(index.documents, row.at("document_index"));
  testing::expect_array(index.samples, row.at("sample_index"));
  testing::expect_array(index.shuffle, row.at("shuffle_index"));
}

TEST(GptIndex, EqualsUpstreamsArrays) {
  const Json file = golden("gpt_index.json");
  ASSERT_EQ(file.at("cases").size(), 29U);
  size_t compared = 0;
  for (const auto& row : file.at("cases")) {
    SCOPED_TRACE(row.at("name").get<std::string>());
    if (row.contains("dataset")) continue;
    expect_row(row, *lengths_of(row));
    ++compared;
  }
  EXPECT_EQ(compared, 26U);
}

TEST(GptIndex, EqualsUpstreamsArraysOverARealDataset) {
  if (!testing::large_data()) GTEST_SKIP() << "the large test data are not here";
  const Json file = golden("gpt_index.json");
  for (const auto& row : file.at("cases")) {
    SCOPED_TRACE(row.at("name").get<std::string>());
    if (row.contains("dataset")) expect_row(row, *lengths_of(row));
  }
}

TEST(GptIndex, EveryTokenOfAnEpochIsServedOnce) {
  // One epoch, and the last sample ends with the last token: the labels are all tokens but the
  // first, each once.
  const std::vector<int32_t> lengths = {7, 3, 12, 0, 5, 6};  // 33 = 4 x 8 + 1
  const GptIndex index = build_gpt_index(lengths, {0, 6}, {.sequence_length = 8, .seed = 3});
  ASSERT_EQ(index.plan.num_samples, 4);
  EXPECT_EQ(index.samples[8], 5);
  const auto last = static_cast<size_t>(index.documents[5]);
  EXPECT_EQ(index.samples[9], lengths[last] - 1);
}

TEST(GptIndex, AsksNothingOfNothing) {
  const std::vector<int32_t> empty = {0, 0, 0};
  GptIndexRequest request{.sequence_length = 8, .num_samples = 0};
  EXPECT_EQ(build_gpt_index(empty, {0, 3}, request).plan.num_samples, 0);
  EXPECT_EQ(build_gpt_index(empty, {1, 1}, request).plan.num_samples, 0);
  request.num_samples = 1;  // upstream never returns from here
  EXPECT_THROW(build_gpt_index(empty, {0, 3}, request), UsageError);
  EXPECT_THROW(build_gpt_index(empty, {2, 4}, request), std::invalid_argument);
}

TEST(GptIndex, FewerTokensThanASampleRepeatWithinIt) {
  const GptIndex index = build_gpt_index(std::vector<int32_t>{3, 2}, {0, 2},
                                         {.sequence_length = 16, .num_samples = 2, .seed = 1});
  EXPECT_EQ(index.plan.num_epochs, 7);  // 2 x 16 + 1 tokens of 5
  EXPECT_EQ(index.plan.num_samples, 2);
}

}  // namespace
}  // namespace megalith

#include "megalith/data/gpt_dataset.hpp"

#include <gtest/gtest.h>

#include <set>

#include "megalith/core/error.hpp"
#include "tests/data/fixed_tokens.hpp"
#include "tests/data/golden_json.hpp"

namespace megalith {
namespace {

using testing::FixedTokens;
using testing::golden;
using testing::Json;

GptDataset dataset_of(const Json& row) {
  auto source = open_indexed_tokens(testing::golden_path(row.at("dataset")));
  const auto split = testing::split_named(row.at("split_name"));
  const auto bounds = split_matrix(parse_split(row.at("split"))).at(static_cast<size_t>(split));
  const auto lengths = source->sequence_lengths();
  const Interval interval = split_interval(bounds.value(), static_cast<int64_t>(lengths.size()));
  const bool drop = row.at("drop_last_partial_validation_sequence");
  const GptIndexRequest request{.sequence_length = row.at("sequence_length"),
                                .num_samples = testing::optional_integer(row.at("num_samples")),
                                .seed = row.at("seed"),
                                .add_extra_token = row.at("add_extra_token"),
                                .keep_partial_sample = split == Split::kValid && !drop};
  const bool inside = row.at("inter_document_masking");
  const int64_t pad = row.at("pad");
  const GptSampleOptions options{
      .sequence_length = request.sequence_length,
      .add_extra_token = request.add_extra_token,
      .reset_position_ids = inside || row.at("reset_position_ids").get<bool>(),
      .reset_attention_mask = inside || row.at("reset_attention_mask").get<bool>(),
      .eod_mask_loss = row.at("eod_mask_loss"),
      .eod = row.at("eod").get<int64_t>(),
      .pad = pad < 0 ? std::nullopt : std::optional(pad)};
  GptIndex index = build_gpt_index(lengths, interval, request);
  return GptDataset(std::move(source), std::move(index), options);
}

std::vector<std::string> mask_rows(const Sample& sample) {
  const auto mask = attention_mask(sample);
  std::vector<std::string> rows;
  for (size_t i = 0; i < mask.size(); ++i) {
    if (i % sample.tokens.size() == 0) rows.emplace_back();
    rows.back() += mask[i] ? '1' : '0';
  }
  return rows;
}

void expect_sample(const GptDataset& dataset, const Json& expected) {
  const auto k = expected.at("index").get<int64_t>();
  SCOPED_TRACE(k);
  const Sample sample = dataset.sample(k);
  EXPECT_EQ(Json(dataset.window(k)), expected.at("window"));
  EXPECT_EQ(Json(sample.tokens), expected.at("tokens"));
  EXPECT_EQ(Json(sample.labels), expected.at("labels"));
  EXPECT_EQ(sample.loss_mask, expected.at("loss_mask").get<std::vector<float>>());
  EXPECT_EQ(Json(sample.position_ids), expected.at("position_ids"));
  std::vector<int64_t> documents;
  for (const auto& piece : dataset.pieces(k)) documents.push_back(piece.sequence);
  EXPECT_EQ(Json(documents), expected.at("documents"));
  if (expected.contains("attention_mask")) {
    EXPECT_EQ(Json(mask_rows(sample)), expected.at("attention_mask"));
  } else {
    auto bounds = segment_bounds(sample);
    bounds.resize(sample.tokens.size() + 1, bounds.back());
    EXPECT_EQ(Json(bounds), expected.at("cu_seqlens"));
  }
}

TEST(GptDataset, SamplesAreUpstreams) {
  const Json file = golden("gpt_samples.json");
  ASSERT_EQ(file.at("cases").size(), 14U);
  size_t samples = 0;
  for (const auto& row : file.at("cases")) {
    SCOPED_TRACE(row.at("name").get<std::string>());
    const GptDataset dataset = dataset_of(row);
    EXPECT_EQ(dataset.num_samples(), row.at("samples_built").get<int64_t>());
    testing::expect_array(dataset.index().documents, row.at("document_index"));
    testing::expect_array(dataset.index().samples, row.at("sample_index"));
    testing::expect_array(dataset.index().shuffle, row.at("shuffle_index"));
    for (const auto& expected : row.at("samples")) {
      expect_sample(dataset, expected);
      ++samples;
    }
  }
  EXPECT_EQ(samples, 28U);
}

TEST(GptDataset, APaddedSampleLeavesTheNextOnesAlone) {
  const Json file = golden("gpt_samples.json");
  for (const auto& row : file.at("cases")) {
    if (row.at("name") != "no_pad_token") continue;
    const GptDataset dataset = dataset_of(row);
    (void)dataset.sample(4);  // the padded one, first
    const Sample next = dataset.sample(2);
    EXPECT_EQ(next.loss_mask, std::vector<float>(next.tokens.size(), 1.0F));
  }
}

TEST(GptDataset, PlacesNameTheTokenTheyStandFor) {
  const auto source = std::make_shared<FixedTokens>(std::vector<int32_t>{7, 3, 12, 5, 9});
  GptIndex index = build_gpt_index(source->sequence_lengths(), {0, 5},
                                   {.sequence_length = 8, .num_samples = 13, .seed = 1234});
  const GptDataset dataset(source, std::move(index), {.sequence_length = 8});
  for (int64_t k = 0; k < dataset.num_samples(); ++k) {
    const auto window = dataset.window(k);
    for (int64_t i = 0; i < 9; ++i) {
      const int64_t id = window[static_cast<size_t>(i)];
      EXPECT_EQ(dataset.place(k, i), fmt::format("fixed {}:{}", id / 100, id % 100));
    }
  }
  EXPECT_THROW((void)dataset.sample(13), std::out_of_range);
  EXPECT_THROW((void)dataset.sample(-1), std::out_of_range);
}

TEST(GptDataset, MockTokensAreTheSameInEveryRun) {
  const auto tokens = make_mock_tokens(1000, 999);
  const auto lengths = tokens->sequence_lengths();
  ASSERT_EQ(lengths.size(), 100'000U);
  // numpy.random.RandomState(0).randint(1, 4096, size=100000, dtype="int32")
  EXPECT_EQ(std::vector<int32_t>(lengths.begin(), lengths.begin() + 5),
            (std::vector<int32_t>{2733, 2608, 1654, 3265, 836}));
  std::vector<int64_t> ids(static_cast<size_t>(lengths[0]));
  tokens->read(0, 0, ids);
  EXPECT_EQ(ids[0], 1);
  EXPECT_EQ(ids[998], 999);
  EXPECT_EQ(ids[999], 0);
  EXPECT_EQ(ids.back(), 999);
}

}  // namespace
}  // namespace megalith

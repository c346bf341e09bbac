#include "megalith/data/bert_dataset.hpp"

#include <gtest/gtest.h>

#include <set>

#include "megalith/core/error.hpp"
#include "tests/data/golden_json.hpp"

namespace megalith {
namespace {

using testing::golden;
using testing::Json;

std::shared_ptr<const WordPieces> pieces_of(const Json& file) {
  const Json& special = file.at("special");
  WordPieces pieces{.cls = special.at("cls"),
                    .sep = special.at("sep"),
                    .mask = special.at("mask"),
                    .pad = special.at("pad"),
                    .continues_word = {},
                    .ordinary = {}};
  for (const auto& entry : file.at("vocabulary")) {
    const auto text = entry.get<std::string>();
    const auto id = static_cast<int64_t>(pieces.continues_word.size());
    pieces.continues_word.push_back(text.starts_with("##") ? 1 : 0);
    if (!text.starts_with("[")) pieces.ordinary.push_back(id);
  }
  return std::make_shared<WordPieces>(std::move(pieces));
}

MaskingOptions masking_of(const Json& row) {
  return {.probability = row.at("masking_probability"),
          .max_ngram = row.at("masking_max_ngram"),
          .whole_words = row.at("masking_do_full_word"),
          .longer_ngrams = row.at("masking_use_longer_ngrams"),
          .geometric = row.at("masking_use_geometric_distribution")};
}

BertDataset dataset_of(const Json& row, std::shared_ptr<const WordPieces> pieces,
                       const MaskingOptions& masking) {
  auto source = open_indexed_tokens(testing::golden_path(row.at("dataset")));
  const auto split = testing::split_named(row.at("split_name"));
  const auto share = split_matrix(parse_split(row.at("split"))).at(static_cast<size_t>(split));
  const Interval interval = split_interval(share.value(), source->num_documents());
  std::vector<int64_t> bounds;
  for (int64_t d = interval.first; d <= interval.second; ++d) {
    bounds.push_back(source->first_sequence(d));
  }
  const BertIndexRequest request{.sequence_length = row.at("sequence_length"),
                                 .num_samples = row.at("num_samples").get<int64_t>(),
                                 .seed = row.at("seed"),
                                 .short_sequence_probability = row.at("short_sequence_probability"),
                                 .sentence_order = row.at("classification_head")};
  const auto lengths = source->sequence_lengths();
  BertIndex index{survey_documents(lengths, bounds, request),
                  build_bert_mapping(lengths, bounds, request)};
  return {std::move(source), std::move(index), request, std::move(pieces), masking};
}

void expect_sample(const BertDataset& dataset, const Json& expected) {
  const auto k = expected.at("index").get<int64_t>();
  SCOPED_TRACE(k);
  const IntegerArray& mapping = dataset.index().mapping;
  EXPECT_EQ(Json({mapping[3 * k], mapping[3 * k + 1], mapping[3 * k + 2]}), expected.at("row"));
  const Sample sample = dataset.sample(k);
  EXPECT_EQ(Json(sample.tokens), expected.at("text"));
  EXPECT_EQ(Json(sample.types), expected.at("types"));
  EXPECT_EQ(Json(sample.labels), expected.at("labels"));
  EXPECT_EQ(sample.is_random, expected.at("is_random").get<int64_t>());
  EXPECT_EQ(Json(sample.padding_mask), expected.at("padding_mask"));
  EXPECT_EQ(sample.loss_mask, expected.at("loss_mask").get<std::vector<float>>());
  EXPECT_EQ(sample.truncated ? 1 : 0, expected.at("truncated").get<int64_t>());
}

TEST(BertDataset, SamplesAreUpstreams) {
  const Json file = golden("bert_samples.json");
  const auto pieces = pieces_of(file);
  ASSERT_EQ(file.at("cases").size(), 8U);
  size_t samples = 0;
  for (const auto& row : file.at("cases")) {
    SCOPED_TRACE(row.at("name").get<std::string>());
    const BertDataset dataset = dataset_of(row, pieces, masking_of(row));
    EXPECT_EQ(dataset.num_samples(), row.at("samples_built").get<int64_t>());
    testing::expect_array(dataset.index().mapping, row.at("mapping"));
    for (const auto& expected : row.at("samples")) {
      expect_sample(dataset, expected);
      ++samples;
    }
  }
  EXPECT_EQ(samples, 17U);
}

/// Documents of sentences given as ids.
class FixedSentences final : public TokenSource {
 public:
  explicit FixedSentences(std::vector<std::vector<int64_t>> sentences)
      : sentences_(std::move(sentences)) {
    for (const auto& ids : sentences_) lengths_.push_back(static_cast<int32_t>(ids.size()));
  }
  const std::string& name() const override { return name_; }
  std::span<const int32_t> sequence_lengths() const override { return lengths_; }
  int64_t num_documents() const override { return 1; }
  int64_t first_sequence(int64_t document) const override {
    return document == 0 ? 0 : static_cast<int64_t>(lengths_.size());
  }
  void read(int64_t sequence, int64_t offset, std::span<int64_t> out) const override {
    const auto& ids = sentences_.at(static_cast<size_t>(sequence));
    for (size_t i = 0; i < out.size(); ++i) out[i] = ids.at(static_cast<size_t>(offset) + i);
  }
  std::string place(int64_t sequence, int64_t offset) const override {
    return fmt::format("{}:{}", sequence, offset);
  }

 private:
  std::string name_ = "fixed";
  std::vector<std::vector<int64_t>> sentences_;
  std::vector<int32_t> lengths_;
};

BertDataset dataset_of(const std::shared_ptr<const TokenSource>& source,
                       const BertIndexRequest& request, const MaskingOptions& masking,
                       const std::shared_ptr<const WordPieces>& pieces) {
  const std::vector<int64_t> bounds = {0, source->first_sequence(1)};
  const auto lengths = source->sequence_lengths();
  return {
      source,
      {survey_documents(lengths, bounds, request), build_bert_mapping(lengths, bounds, request)},
      request,
      pieces,
      masking};
}

std::vector<int64_t> words(int64_t first, int64_t count) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(first + i);
  return ids;
}

TEST(BertDataset, PlacesNameTheTokenTheyStandFor) {
  const auto pieces = std::make_shared<WordPieces>(mock_word_pieces(1000));
  const auto source = std::make_shared<FixedSentences>(
      std::vector{words(100, 9), words(200, 20), words(300, 3), words(400, 30)});
  const BertDataset dataset = dataset_of(
      source, {.sequence_length = 40, .num_samples = 50, .short_sequence_probability = 0.5}, {},
      pieces);
  for (int64_t k = 0; k < dataset.num_samples(); ++k) {
    const Sample sample = dataset.sample(k);
    for (int64_t i = 0; i < 40; ++i) {
      const auto at = static_cast<size_t>(i);
      const int64_t id = sample.labels[at] == kIgnoredLabel ? sample.tokens[at] : sample.labels[at];
      if (id < 100) {
        EXPECT_EQ(dataset.place(k, i), "fixed: a special token");
      } else {
        EXPECT_EQ(dataset.place(k, i), fmt::format("{}:{}", id / 100 - 1, id % 100));
      }
    }
  }
  EXPECT_THROW((void)dataset.sample(dataset.num_samples()), std::out_of_range);
  EXPECT_THROW((void)dataset.sample(-1), std::out_of_range);
}

TEST(BertDataset, AnIdOutsideTheVocabularyIsNamedWithItsPlace) {
  const auto pieces = std::make_shared<WordPieces>(mock_word_pieces(300));
  for (const int64_t bad : {int64_t{300}, int64_t{-1}}) {
    const auto source =
        std::make_shared<FixedSentences>(std::vector{words(10, 9), std::vector{bad}, words(20, 3)});
    const BertDataset dataset = dataset_of(source, {.sequence_length = 40}, {}, pieces);
    try {
      (void)dataset.sample(0);
      FAIL();
    } catch (const UsageError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find(fmt::format("1:0 is id {}, but the vocabulary has 300", bad)),
                std::string::npos)
          << text;
    }
  }
}

/// Counts over many samples of a document whose second sentence starts with a ## piece.
struct MaskCounts {
  int64_t samples = 0, without_mask = 0, special_replacements = 0, starts_alone = 0;
};

MaskCounts count_masks(bool clean) {
  WordPieces pieces = mock_word_pieces(16);
  for (int64_t id = 10; id < 16; ++id) pieces.continues_word[static_cast<size_t>(id)] = 1;
  const auto shared = std::make_shared<WordPieces>(std::move(pieces));
  const auto source = std::make_shared<FixedSentences>(
      std::vector<std::vector<int64_t>>{{5, 6, 7, 8, 9, 5}, {10, 6, 7, 8, 9, 5}});
  const BertDataset dataset = dataset_of(
      source, {.sequence_length = 24, .num_samples = 4000, .short_sequence_probability = 0.5},
      {.probability = 0.15, .max_ngram = 1, .clean = clean}, shared);
  MaskCounts counts;
  for (int64_t k = 0; k < dataset.num_samples(); ++k) {
    const Sample sample = dataset.sample(k);
    ++counts.samples;
    int64_t hidden = 0;
    for (size_t i = 0; i < sample.tokens.size(); ++i) {
      if (sample.labels[i] == kIgnoredLabel) continue;
      ++hidden;
      const int64_t id = sample.tokens[i];
      counts.special_replacements += id < 5 && id != 4 ? 1 : 0;
      // The ## piece that B starts with, hidden without the last piece of A.
      const bool first_of_b = sample.labels[i] == 10 && sample.tokens[i - 1] == 3;
      counts.starts_alone += first_of_b && sample.labels[i - 2] == kIgnoredLabel ? 1 : 0;
    }
    counts.without_mask += hidden == 0 ? 1 : 0;
  }
  return counts;
}

TEST(BertDataset, CleanMaskingLeavesTheOdditiesOut) {
  const MaskCounts upstream = count_masks(false), clean = count_masks(true);
  EXPECT_GT(upstream.without_mask, 0);
  EXPECT_GT(upstream.special_replacements, 0);
  EXPECT_EQ(upstream.starts_alone, 0);
  EXPECT_EQ(clean.without_mask, 0);
  EXPECT_GT(clean.starts_alone, 0);
  EXPECT_EQ(clean.special_replacements, 0);
  EXPECT_GT(clean.samples, 3999);
}

TEST(BertDataset, SharesOfMaskingAndOrderAreThoseAskedFor) {
  const auto pieces = std::make_shared<WordPieces>(mock_word_pieces(1000));
  const auto source = make_mock_sentences(pieces);
  std::vector<int64_t> bounds;
  for (int64_t d = 0; d <= source->num_documents(); ++d) {
    bounds.push_back(source->first_sequence(d));
  }
  const BertIndexRequest request{.sequence_length = 128};
  const auto lengths = source->sequence_lengths();
  const BertDataset dataset(
      source,
      {survey_documents(lengths, bounds, request), build_bert_mapping(lengths, bounds, request)},
      request, pieces, {});
  double hidden = 0, masked = 0, kept = 0, tokens = 0, swapped = 0;
  constexpr int64_t kSamples = 4000;
  for (int64_t k = 0; k < kSamples; ++k) {
    const Sample sample = dataset.sample(k);
    swapped += static_cast<double>(*sample.is_random);
    for (size_t i = 0; i < sample.tokens.size(); ++i) {
      tokens += static_cast<double>(sample.padding_mask[i]);
      if (sample.loss_mask[i] == 0) continue;
      hidden += 1;
      masked += sample.tokens[i] == pieces->mask ? 1 : 0;
      kept += sample.tokens[i] == sample.labels[i] ? 1 : 0;
    }
  }
  // At most 0.15 x 125 of 128, rounded down to whole pieces.
  EXPECT_LE(hidden / tokens, 0.15);
  EXPECT_GE(hidden / tokens, 0.135);
  EXPECT_NEAR(masked / hidden, 0.8, 0.01);
  EXPECT_NEAR(kept / hidden, 0.1, 0.01);
  EXPECT_NEAR(swapped / kSamples, 0.5, 0.03);
}

}  // namespace
}  // namespace megalith

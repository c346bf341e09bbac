#include "megalith/data/bert_index.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>

#include "tests/data/golden_json.hpp"

namespace megalith {
namespace {

using testing::golden;
using testing::Json;

std::vector<int32_t> numbers(const Json& row, const std::string& name) {
  if (row.contains(name)) return row.at(name).get<std::vector<int32_t>>();
  return testing::lcg_numbers(row.at(name + "_lcg"));
}

std::vector<int64_t> bounds_of(const std::vector<int32_t>& sentences_per_document) {
  std::vector<int64_t> bounds = {0};
  for (const int32_t count : sentences_per_document) bounds.push_back(bounds.back() + count);
  return bounds;
}

TEST(BertIndex, MappingsAreUpstreams) {
  const Json file = golden("bert_mapping.json");
  size_t compared = 0;
  for (const auto& row : file.at("cases")) {
    SCOPED_TRACE(row.at("name").get<std::string>());
    const auto lengths = numbers(row, "sentence_lengths");
    const auto bounds = bounds_of(numbers(row, "sentences_per_document"));
    const auto range = row.at("document_range").get<std::vector<size_t>>();
    const BertIndexRequest request{
        .sequence_length = row.at("sequence_length"),
        .num_samples = row.at("num_samples").get<int64_t>(),
        .seed = row.at("seed"),
        .short_sequence_probability = row.at("short_sequence_probability"),
        .sentence_order = row.at("min_sentences") == 2};
    const auto part = DocumentBounds(bounds).subspan(range[0], range[1] - range[0] + 1);
    const IntegerArray mapping = build_bert_mapping(lengths, part, request);
    testing::expect_array(mapping, row.at("mapping"));
    ++compared;
  }
  EXPECT_EQ(compared, 10U);
}

TEST(BertIndex, TheSurveyCountsWhatIsLeftOut) {
  // Documents: empty; one sentence (long, which is not tested); fine; one long sentence; fine.
  const std::vector<int32_t> lengths = {600, 5, 7, 513, 4, 512, 1, 2};
  const std::vector<int64_t> bounds = {0, 0, 1, 3, 5, 8};
  BertIndexRequest request{.sequence_length = 32};
  BertSurvey survey = survey_documents(lengths, bounds, request);
  EXPECT_EQ(survey.documents, 5);
  EXPECT_EQ(survey.sentences, 8);
  EXPECT_EQ(survey.too_few_sentences, 2);
  EXPECT_EQ(survey.long_sentences, 1);
  EXPECT_EQ(survey.used_documents, 2);
  EXPECT_EQ(survey.used_sentences, 5);
  EXPECT_EQ(survey.used_tokens, 527);
  EXPECT_EQ(survey.first_used_sentence, 1);
  EXPECT_EQ(survey.left_out(request),
            "; left out: 2 with fewer than 2 sentences, 1 with a sentence of more than 512 pieces");

  request.keep_long_sentences = true;
  survey = survey_documents(lengths, bounds, request);
  EXPECT_EQ(survey.used_documents, 3);
  EXPECT_EQ(build_bert_mapping(lengths, bounds, request).shape()[0], 3);
  request.sentence_order = false;
  survey = survey_documents(lengths, bounds, request);
  EXPECT_EQ(survey.used_documents, 4);
  EXPECT_EQ(survey.left_out(request), "; left out: 1 with fewer than 1 sentence");
}

TEST(BertIndex, RowsOfAnEpochCoverTheUsedDocumentsOnce) {
  std::vector<int32_t> lengths(1000);
  for (size_t i = 0; i < lengths.size(); ++i) lengths[i] = 1 + static_cast<int32_t>(i * 7 % 40);
  std::vector<int64_t> bounds = {0};
  while (bounds.back() < 1000) bounds.push_back(bounds.back() + 1 + bounds.back() % 9);
  bounds.back() = 1000;
  const BertIndexRequest request{.sequence_length = 64};
  const BertSurvey survey = survey_documents(lengths, bounds, request);
  const IntegerArray mapping = build_bert_mapping(lengths, bounds, request);
  int64_t sentences = 0;
  for (int64_t i = 0; i < mapping.size(); i += 3) {
    EXPECT_GE(mapping[i + 1] - mapping[i], 2);
    EXPECT_LE(mapping[i + 2], 61);
    EXPECT_GE(mapping[i + 2], 2);
    sentences += mapping[i + 1] - mapping[i];
  }
  EXPECT_EQ(sentences, survey.used_sentences);
  EXPECT_EQ(count_epochs(mapping, survey), 1);

  BertIndexRequest more = request;
  more.num_samples = mapping.shape()[0] + 1;
  EXPECT_EQ(count_epochs(build_bert_mapping(lengths, bounds, more), survey), 2);
  more.num_samples = 0;
  EXPECT_EQ(build_bert_mapping(lengths, bounds, more).shape(), (std::vector<int64_t>{0, 3}));
}

TEST(BertIndex, RefusesWhatUpstreamDividesByZeroOrLoopsOn) {
  const std::vector<int32_t> lengths = {5, 5};
  const std::vector<int64_t> bounds = {0, 2}, none = {0, 1, 2};
  const auto build = [&](const std::vector<int64_t>& documents, const BertIndexRequest& request) {
    (void)build_bert_mapping(lengths, documents, request);
  };
  EXPECT_NO_THROW(build(bounds, {.sequence_length = 5, .num_samples = 3}));
  EXPECT_THROW(build(bounds, {.sequence_length = 4}), std::invalid_argument);
  EXPECT_THROW(build(none, {.sequence_length = 32, .num_samples = 1}), std::invalid_argument);
  EXPECT_THROW(build(bounds, {.sequence_length = 32, .seed = 2147483647}), std::invalid_argument);
  EXPECT_THROW(build(bounds, {.sequence_length = 32, .short_sequence_probability = 1.1}),
               std::invalid_argument);
}

}  // namespace
}  // namespace megalith

#include <gtest/gtest.h>

#include "megalith/data/batch_loader.hpp"
#include "megalith/data/bert_dataset.hpp"
#include "megalith/data/blended_dataset.hpp"
#include "megalith/data/build_datasets.hpp"
#include "megalith/data/indexed_dataset_writer.hpp"
#include "tests/data/golden_json.hpp"

namespace megalith {
namespace {

using testing::MemoryFolder;
using Documents = std::vector<std::vector<int32_t>>;  // lengths of the sentences of each document

constexpr int64_t kVocabulary = 1000;

const BertDataset& bert(const std::shared_ptr<const Dataset>& dataset) {
  return dynamic_cast<const BertDataset&>(*dataset);
}

class BuildBertDatasets : public ::testing::Test {
 protected:
  /// Sentence s of the whole holds the ids 10 + s.
  std::string corpus(const Documents& documents, const std::string& name = "corpus") {
    IndexedDatasetWriter writer(folder_.path(name), TokenType::kInt32);
    int32_t id = 10;
    for (const auto& document : documents) {
      for (const int32_t length : document) {
        writer.append_sequence(std::vector<int32_t>(static_cast<size_t>(length), id++));
      }
      writer.end_document();
    }
    writer.commit();
    return folder_.path(name);
  }
  DatasetRequest request(SampleCounts samples) {
    return {.kind = DatasetKind::kBert,
            .sequence_length = 32,
            .samples = samples,
            .word_pieces = std::make_shared<WordPieces>(mock_word_pieces(kVocabulary)),
            .wait_for_builder = {},
            .notice = [this](const std::string& line) { notices_.push_back(line); }};
  }
  std::string refusal(const DataConfig& config, const DatasetRequest& wanted) {
    try {
      (void)build_datasets(config, wanted);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  }
  static bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  MemoryFolder folder_;
  std::vector<std::string> notices_;
};

TEST_F(BuildBertDatasets, SplitsCountDocuments) {
  // Nine documents of two sentences and one of twenty.
  Documents documents(9, {5, 5});
  documents.push_back(std::vector<int32_t>(20, 5));
  const DataConfig config{.data_path = {corpus(documents)}, .split = "8,1,1"};
  const Datasets datasets = build_datasets(config, request({8, 1, 1}));
  EXPECT_EQ(bert(datasets.train).index().survey.documents, 8);
  EXPECT_EQ(bert(datasets.valid).index().survey.documents, 1);
  EXPECT_EQ(bert(datasets.test).index().survey.sentences, 20);
  EXPECT_EQ(bert(datasets.test).index().mapping[0] % 2, 0);
  EXPECT_GE(bert(datasets.test).index().survey.first_used_sentence, 18);
  EXPECT_TRUE(has(datasets.train->summary(), "from 8 of 8 documents"));
}

TEST_F(BuildBertDatasets, TheMappingComesFromTheCacheTheSecondTime) {
  const DataConfig config{.data_path = {corpus(Documents(20, {9, 9, 9, 9}))},
                          .split = "1,0,0",
                          .data_cache_path = folder_.path("cache")};
  DatasetRequest wanted = request({50, 0, 0});
  const auto first = build_datasets(config, wanted);
  std::vector<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(folder_.path("cache"))) {
    names.push_back(file.path().filename().string());
    EXPECT_TRUE(has(names.back(), "-BERTMaskedWordPieceDataset-")) << names.back();
  }
  EXPECT_EQ(names.size(), 3U);  // description, mapping, note
  const auto second = build_datasets(config, wanted);
  for (int64_t k = 0; k < 50; ++k) {
    EXPECT_EQ(first.train->sample(k).tokens, second.train->sample(k).tokens);
  }
  notices_.clear();
  wanted.bert.keep_long_sentences = true;  // not part of upstream's name
  (void)build_datasets(config, wanted);
  EXPECT_TRUE(has(notices_.at(0), "has changed")) << notices_.at(0);
  notices_.clear();
  corpus(Documents(20, {9, 9, 9, 8}));
  (void)build_datasets(config, wanted);
  EXPECT_TRUE(has(notices_.at(0), "has changed")) << notices_.at(0);
}

TEST_F(BuildBertDatasets, BlendsDrawByWeightAndByRows) {
  const auto a = corpus(Documents(20, {9, 9, 9, 9}), "a");
  const auto b = corpus(Documents(10, {20, 20}), "b");
  const auto weighted =
      build_datasets({.data_path = {"3", a, "1", b}, .split = "1,0,0"}, request({400, 0, 0}));
  const auto& blend = dynamic_cast<const BlendedDataset&>(*weighted.train);
  EXPECT_EQ(blend_counts(blend.index(), 2), (std::vector<int64_t>{300, 100}));
  EXPECT_GE(blend.children()[0]->num_samples(), 302);  // with the surplus
  EXPECT_EQ(blend.min_tokens(), 1);
  const auto plain = build_datasets({.data_path = {a, b}, .split = "1,0,0"}, request({99, 0, 0}));
  int64_t rows = 0;
  const auto& children = dynamic_cast<const BlendedDataset&>(*plain.train).children();
  for (const auto& child : children) {
    rows += child->num_samples();
    EXPECT_EQ(count_epochs(bert(child).index().mapping, bert(child).index().survey), 1);
  }
  EXPECT_EQ(plain.train->num_samples(), rows);
}

TEST_F(BuildBertDatasets, BatchesHoldTheSamplesAndGoOnWhereARunEnded) {
  const DataConfig config{.data_path = {corpus(Documents(20, {9, 9, 9, 9}))}, .split = "1,0,0"};
  const auto dataset = build_datasets(config, request({200, 0, 0})).train;
  LoaderOptions options{
      .micro_batch_size = 3, .replica_index = 1, .replica_count = 2, .vocab_size = kVocabulary};
  BatchLoader whole(dataset, options);
  for (int step = 0; step < 20; ++step) {
    options.consumed_samples = whole.consumed_samples();
    BatchLoader resumed(dataset, options);
    const Batch batch = whole.next(), again = resumed.next();
    EXPECT_EQ(batch.sample_numbers[0], 6 * step + 3);
    EXPECT_EQ(batch.tokens, again.tokens);
    EXPECT_EQ(batch.labels, again.labels);
    EXPECT_EQ(batch.is_random, again.is_random);
    ASSERT_EQ(batch.is_random.size(), 3U);
    ASSERT_EQ(batch.types.size(), 96U);
    ASSERT_EQ(batch.padding_mask.size(), 96U);
    EXPECT_TRUE(batch.segment_ids.empty());
    const Sample last = dataset->sample(batch.sample_numbers[2]);
    const auto tail = [](const std::vector<int64_t>& rows) {
      return std::vector<int64_t>(rows.end() - 32, rows.end());
    };
    EXPECT_EQ(tail(batch.tokens), last.tokens);
    EXPECT_EQ(tail(batch.types), last.types);
    EXPECT_EQ(tail(batch.padding_mask), last.padding_mask);
    EXPECT_EQ(batch.is_random[2], last.is_random);
  }
}

TEST_F(BuildBertDatasets, MockDataNeedNoFiles) {
  const Datasets datasets = build_datasets({.mock_data = true}, request({100, 10, 10}));
  EXPECT_GE(datasets.train->num_samples(), 100);
  for (int64_t k = 0; k < 100; ++k) {
    for (const int64_t id : datasets.train->sample(k).tokens) EXPECT_LT(id, kVocabulary);
  }
  DatasetRequest without = request({100, 10, 10});
  without.word_pieces = nullptr;
  EXPECT_TRUE(has(refusal({.mock_data = true}, without), "--mock-data needs a vocabulary"));
  EXPECT_THROW(mock_word_pieces(5), UsageError);
}

TEST_F(BuildBertDatasets, DataThatGiveNoSampleAreToldAsWhatTheyAre) {
  const DataConfig whole{.data_path = {corpus({{7}, {3}, {}, {9}}, "whole")}, .split = "1,0,0"};
  DatasetRequest wanted = request({5, 0, 0});
  EXPECT_TRUE(has(refusal(whole, wanted), "megalith preprocess --split-sentences"));
  EXPECT_TRUE(has(refusal(whole, wanted), folder_.path("whole")));
  wanted.bert.no_binary_head = true;
  EXPECT_TRUE(has(refusal(whole, wanted), "each of its 4 documents is a single sequence"));

  wanted = request({5, 0, 0});
  const DataConfig long_ones{.data_path = {corpus({{600, 3}, {3, 600}, {4}})}, .split = "1,0,0"};
  const std::string text = refusal(long_ones, wanted);
  EXPECT_TRUE(has(text, "none of its 3 documents gives one")) << text;
  EXPECT_TRUE(has(text, "2 with a sentence of more than 512 pieces")) << text;
  EXPECT_TRUE(has(text, "--keep-long-sentences")) << text;
  wanted.bert.keep_long_sentences = true;
  EXPECT_EQ(refusal(long_ones, wanted), "");
  EXPECT_EQ(refusal(long_ones, request({0, 0, 0})), "");

  const DataConfig thin{.data_path = {corpus({{3, 3}, {3, 3}})}, .split = "98,1,1"};
  EXPECT_TRUE(has(refusal(thin, request({5, 5, 0})), "(train 2, valid 0, test 0)"));
}

TEST_F(BuildBertDatasets, MistakesAreToldTogether) {
  const DataConfig config{.data_path = {corpus({{3, 3}})}, .split = "1,0,0", .eod_mask_loss = true};
  DatasetRequest wanted = request({5, 0, 0});
  wanted.sequence_length = 4;
  wanted.seed = 2147483647;
  wanted.bert = {.mask_prob = 1.0, .short_seq_prob = -0.1};
  const std::string text = refusal(config, wanted);
  for (const char* part : {"--mask-prob 1:", "--short-seq-prob -0.1:", "--seq-length 4:",
                           "--seed 2147483647:", "--eod-mask-loss"}) {
    EXPECT_TRUE(has(text, part)) << part << " in " << text;
  }
}

TEST_F(BuildBertDatasets, AnIndexWhoseDocumentsFallIsRefused) {
  const std::string prefix = corpus({{3, 3}, {3, 3}, {3, 3}});
  std::string index = read_text_file(prefix + ".idx");
  const size_t documents = 34 + 12 * 6;
  index[documents + 8] = 5;  // the second document starts at 5, the third at 4
  AtomicFile file(prefix + ".idx");
  file.write(index);
  file.publish();
  const std::string text = refusal({.data_path = {prefix}, .split = "1,0,0"}, request({5, 0, 0}));
  EXPECT_TRUE(has(text, "corpus.idx: document 2 starts at sentence 4; expected 5 to 6")) << text;
}

}  // namespace
}  // namespace megalith

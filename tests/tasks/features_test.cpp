// Token features against an independent script over the package `tokenizers`
// (tests/oracles/finetune_features.py), on real data.
#include "megalith/tasks/finetune/features.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/digest.hpp"
#include "tests/tasks/example_files.hpp"

namespace megalith {
namespace {

using ::testing::ElementsAre;
using Ids = std::vector<int32_t>;

constexpr SpecialIds kSpecial{101, 102, 0};

void expect_features(const std::vector<TokenFeatures>& rows, const char* name) {
  const auto golden = nlohmann::json::parse(
      read_text_file(testing::repository_file("tests/golden/finetune/features.json")))[name];
  Sha256 ids, types;
  int64_t count = 0;
  for (const auto& row : rows) {
    ASSERT_EQ(row.ids.size(), row.types.size());
    ids.update(std::as_bytes(std::span(row.ids)));
    types.update(std::as_bytes(std::span(row.types)));
    count += static_cast<int64_t>(row.ids.size());
  }
  EXPECT_EQ(rows.size(), golden["rows"].get<size_t>()) << name;
  EXPECT_EQ(count, golden["num_ids"].get<int64_t>()) << name;
  EXPECT_EQ(rows.at(0).ids, golden["first"].get<Ids>()) << name;
  EXPECT_EQ(ids.hex(), golden["ids_sha256"].get<std::string>()) << name;
  EXPECT_EQ(types.hex(), golden["types_sha256"].get<std::string>()) << name;
}

std::vector<TokenFeatures> sequences(const FeatureSet& features) {
  std::vector<TokenFeatures> rows;
  for (const auto& example : features.examples) {
    rows.insert(rows.end(), example.sequences.begin(), example.sequences.end());
  }
  return rows;
}

TEST(Features, MnliPairs) {
  MEGALITH_LARGE_FILE(path, "mnli/dev.csv");
  const auto tokenizer = testing::make_bert_uncased();
  const auto set = read_classification(path, {.text = "premise", .text_b = "hypothesis"});
  const auto rows = [&](int64_t length, PairTruncation truncation) {
    return sequences(build_features(set, *tokenizer, length, truncation));
  };
  expect_features(rows(128, PairTruncation::kLongerPart), "mnli_longer_part_128");
  expect_features(rows(31, PairTruncation::kLongerPart), "mnli_longer_part_31");
  expect_features(rows(30, PairTruncation::kEnd), "mnli_cut_end_30");
}

TEST(Features, CosmosChoices) {
  MEGALITH_LARGE_FILE(path, "cosmosqa/valid.csv");
  const auto tokenizer = testing::make_bert_uncased();
  const auto set = read_multiple_choice(path, {.id = "id"});
  const auto rows = [&](int64_t length, int64_t qa_length) {
    return sequences(build_features(set, *tokenizer, length, qa_length));
  };
  expect_features(rows(512, 128), "cosmos_512_128");
  expect_features(rows(100, 16), "cosmos_100_16");
}

TEST(Features, BoolqTexts) {
  MEGALITH_LARGE_FILE(path, "boolq/boolq.jsonl");
  const auto tokenizer = testing::make_bert_uncased();
  const auto set = read_classification(path, {.text = "query", .label = "gold"});
  EXPECT_THAT(set.classes, ElementsAre("0", "1"));
  const auto features = build_features(set, *tokenizer, 256, PairTruncation::kLongerPart);
  EXPECT_EQ(features.longest, 256);
  int64_t num_full = 0;
  for (const auto& example : features.examples) {
    num_full += example.sequences[0].ids.size() == 256 ? 1 : 0;
  }
  EXPECT_GT(features.num_truncated, 0);
  EXPECT_LE(features.num_truncated, num_full);
  EXPECT_EQ(features.examples[0].label, set.examples[0].label);
  expect_features(sequences(features), "boolq_256");
}

TEST(Features, PairsAreCutAsTheRecipesDo) {
  const Ids a = {1, 2, 3, 4}, b = {5, 6, 7};
  const auto longer = pair_features(a, b, kSpecial, 8, PairTruncation::kLongerPart);
  EXPECT_THAT(longer.ids, ElementsAre(101, 1, 2, 3, 102, 5, 6, 102));
  EXPECT_THAT(longer.types, ElementsAre(0, 0, 0, 0, 0, 1, 1, 1));
  EXPECT_EQ(longer.num_dropped, 2);
  EXPECT_THAT(pair_features(a, b, kSpecial, 10, PairTruncation::kEnd).ids,
              ElementsAre(101, 1, 2, 3, 4, 102, 5, 6, 7, 102));
  EXPECT_THAT(pair_features(a, b, kSpecial, 8, PairTruncation::kEnd).ids,
              ElementsAre(101, 1, 2, 3, 4, 102, 5, 102));
  const auto within_a = pair_features(a, b, kSpecial, 5, PairTruncation::kEnd);
  EXPECT_THAT(within_a.ids, ElementsAre(101, 1, 2, 3, 102));
  EXPECT_THAT(within_a.types, ElementsAre(0, 0, 0, 0, 1));
  EXPECT_EQ(within_a.num_dropped, 5);
  EXPECT_THAT(single_features(a, kSpecial, 4).ids, ElementsAre(101, 1, 2, 102));
  EXPECT_THROW(pair_features(a, b, kSpecial, 4, PairTruncation::kEnd), UsageError);
}

TEST(Features, AChoiceTakesThePlaceOfTheBlank) {
  const auto tokenizer = testing::make_bert_uncased();
  const ChoiceQuestion question{.id = "",
                                .group = "",
                                .context = "text",
                                .question = "he is _ and _ .",
                                .choices = {"old", "new"}};
  const auto rows = choice_features(question, *tokenizer, 32, 128);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(tokenizer->decode(rows[1].ids), "[CLS] he is new and new . [SEP] text [SEP]");
  const auto cut = choice_features(question, *tokenizer, 32, 3);
  EXPECT_EQ(tokenizer->decode(cut[0].ids), "[CLS] he is old [SEP] text [SEP]");
  EXPECT_EQ(cut[0].num_dropped, 3);
}

TEST(Features, BatchesArePadded) {
  const std::vector<TokenFeatures> rows = {{{101, 7, 102}, {0, 0, 0}, 0}, {{101, 102}, {0, 1}, 0}};
  const auto batch = pad_features(rows, 0, 9);
  EXPECT_EQ(batch.length, 3);
  EXPECT_THAT(batch.ids, ElementsAre(101, 7, 102, 101, 102, 9));
  EXPECT_THAT(batch.types, ElementsAre(0, 0, 0, 0, 1, 0));
  EXPECT_THAT(batch.mask, ElementsAre(1, 1, 1, 1, 1, 0));
  EXPECT_EQ(pad_features(rows, 5, 9).ids.size(), 10U);
  EXPECT_THROW(pad_features(rows, 2, 9), UsageError);
}

TEST(Features, NeedABertVocabulary) {
  const auto gpt2 = testing::make_gpt2();
  EXPECT_THROW(special_ids(*gpt2), UsageError);
}

}  // namespace
}  // namespace megalith

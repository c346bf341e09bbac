// Saved predictions: what is written reads back, averages are means, and files that do not belong
// together are refused. Scores of classes by hand.
#include "megalith/tasks/finetune/class_predictions.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "megalith/tasks/finetune/class_metrics.hpp"
#include "megalith/tasks/finetune/span_logits.hpp"
#include "tests/tasks/example_files.hpp"

namespace megalith {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::usage_error;

ClassPredictions sample() {
  return {.classes = {"0", "1"},
          .rows = {{.id = "a", .group = "middle", .logits = {2, 0}, .label = 0},
                   {.id = "b", .group = "middle", .logits = {0, 1}, .label = 0},
                   {.id = "a", .group = "high", .logits = {-1, 3}, .label = 1},
                   {.id = "c", .group = "high", .logits = {0.5, 0.5}, .label = 1}}};
}

TEST(ClassPredictions, ReadBackAsTheyWere) {
  const TemporaryFolder folder;
  auto predictions = sample();
  predictions.rows[0].logits = {1.0 / 3, 1e-7F};
  predictions.rows[1].label = std::nullopt;
  write_class_predictions(folder.path("a.jsonl"), predictions);
  const auto read = read_class_predictions(folder.path("a.jsonl"));
  EXPECT_EQ(read.classes, predictions.classes);
  ASSERT_EQ(read.rows.size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(read.rows[i].id, predictions.rows[i].id);
    EXPECT_EQ(read.rows[i].group, predictions.rows[i].group);
    EXPECT_EQ(read.rows[i].logits, predictions.rows[i].logits);
    EXPECT_EQ(read.rows[i].label, predictions.rows[i].label);
  }
  EXPECT_THAT(folder.read("a.jsonl"),
              HasSubstr(R"({"id":"a","group":"high","classes":["0","1"],"logits":[-1.0,3.0],)"
                        R"("probabilities":[0.0179862099620)"));
}

TEST(ClassPredictions, AverageOverProbabilitiesByIdWhateverTheOrder) {
  const TemporaryFolder folder;
  auto other = sample();
  std::swap(other.rows[0], other.rows[3]);
  other.rows[3].logits = {-2, 0};  // "a" of middle: the opposite
  write_class_predictions(folder.path("a.jsonl"), sample());
  write_class_predictions(folder.path("b.jsonl"), other);
  const auto mean = average_class_predictions({folder.path("a.jsonl"), folder.path("b.jsonl")});
  EXPECT_EQ(mean.rows[0].id, "a");
  EXPECT_NEAR(mean.rows[0].probabilities()[0], 0.5, 1e-15);
  const auto unchanged = sample().rows[2].probabilities();
  EXPECT_NEAR(mean.rows[2].probabilities()[1], unchanged[1], 1e-15);
  EXPECT_NEAR(mean.rows[2].logits[1], std::log(unchanged[1]), 1e-15);
}

TEST(ClassPredictions, FilesThatDoNotBelongTogetherAreRefused) {
  const TemporaryFolder folder;
  const auto error = [&](const ClassPredictions& other) {
    write_class_predictions(folder.path("a.jsonl"), sample());
    write_class_predictions(folder.path("b.jsonl"), other);
    return usage_error([&] {
      average_class_predictions({folder.path("a.jsonl"), folder.path("b.jsonl")});
    });
  };
  auto other = sample();
  other.rows.pop_back();
  EXPECT_THAT(error(other), HasSubstr("b.jsonl: has 3 examples, and"));
  other = sample();
  other.rows[3].id = "d";
  EXPECT_THAT(error(other), HasSubstr("b.jsonl: has no example high 'c', which"));
  other = sample();
  other.rows[3].label = 0;
  EXPECT_THAT(error(other), HasSubstr("b.jsonl: example high 'c' has another label than in"));
  other = sample();
  other.classes = {"no", "yes"};
  EXPECT_THAT(error(other), HasSubstr("b.jsonl: has the classes no, yes, and"));
  EXPECT_EQ(error(sample()), "");
}

TEST(ClassPredictions, BrokenFilesAreToldByLine) {
  const TemporaryFolder folder;
  const std::string good = R"({"id":"a","classes":["0","1"],"logits":[0,1],"label":"1"})";
  const auto error = [&](const std::string& text) {
    const auto path = folder.write("a.jsonl", text);
    return usage_error([&] { read_class_predictions(path); });
  };
  EXPECT_EQ(error(good), "");
  EXPECT_THAT(error(good + "\n" + good), HasSubstr("line 2: 'a' was there before"));
  EXPECT_THAT(error(good + "\n{\"id\":\"b\",\"classes\":[\"0\",\"1\"],\"logits\":[0]}"),
              HasSubstr("line 2: has the classes 0, 1 and 1 logits"));
  EXPECT_THAT(error(R"({"id":"a","classes":["0"],"logits":[null]})"),
              HasSubstr("line 1: \"logits\" must be a list of numbers"));
  EXPECT_THAT(error(R"({"id":"a","classes":["0"],"logits":[1],"label":"x"})"),
              HasSubstr("line 1: \"label\" is '\"x\"', and the classes are 0"));
  EXPECT_THAT(error(""), HasSubstr("holds no prediction"));
}

TEST(ClassPredictions, ComeFromLogitsInTheOrderOfTheExamples) {
  const ClassificationSet set{.path = "",
                              .classes = {"x", "y"},
                              .examples = {{.id = "1", .group = "", .text_a = "a", .label = 1},
                                           {.id = "2", .group = "", .text_a = "b"}},
                              .report = {}};
  const std::vector<float> logits = {0, 1, 2, -2};
  const auto predictions = class_predictions(set, logits);
  EXPECT_EQ(predictions.rows[0].label, 1);
  EXPECT_EQ(predictions.rows[1].best(), 0);
  EXPECT_THROW(class_predictions(set, std::vector<float>{0, 1}), RunError);
  EXPECT_THROW(class_predictions(set, std::vector<float>{0, 1, NAN, 0}), RunError);
  const TemporaryFolder folder;
  write_glue_submission(folder.path("MNLI-m.tsv"), predictions);
  EXPECT_EQ(folder.read("MNLI-m.tsv"), "index\tprediction\n1\ty\n2\tx\n");
  EXPECT_THROW(score_classes(predictions), UsageError);
}

TEST(ClassScores, AccuracyOfGroupsAndF1) {
  const auto scores = score_classes(sample(), "1");
  EXPECT_EQ(scores.all.num_correct, 2);  // the tie goes to the first class
  EXPECT_EQ(scores.all.value(), 0.5);
  EXPECT_EQ(scores.groups.at("middle").value(), 0.5);
  EXPECT_EQ(scores.groups.at("high").num_correct, 1);
  // Said 1: b, a of high. Is 1: a of high, c. One is both.
  EXPECT_EQ(scores.f1, 0.5);
  EXPECT_THROW(score_classes(sample(), "2"), UsageError);
  EXPECT_EQ(score_object(scores).dump(),
            R"({"accuracy":0.5,"f1":0.5,"total":4,"accuracy_high":0.5,"total_high":2,)"
            R"("accuracy_middle":0.5,"total_middle":2})");
}

std::vector<SpanLogits> spans() {
  return {{"q", 0, {1, 0.1F, -3}, {2, 3, 4}}, {"q", 1, {1}, {5}}, {"r", 0, {7}, {8}}};
}

TEST(SpanLogits, ReadBackAndAverage) {
  const TemporaryFolder folder;
  write_span_logits(folder.path("a.jsonl"), spans());
  const auto read = read_span_logits(folder.path("a.jsonl"));
  EXPECT_EQ(read[0].start, spans()[0].start);
  EXPECT_EQ(read[1].window, 1);
  auto other = spans();
  other[0].start = {3, 0.1F, -1};
  std::swap(other[0], other[2]);
  write_span_logits(folder.path("b.jsonl"), other);
  const auto mean = average_span_logits({folder.path("a.jsonl"), folder.path("b.jsonl")});
  EXPECT_EQ(mean[0].start, (std::vector<float>{2, 0.1F, -2}));
  EXPECT_EQ(mean[0].end, spans()[0].end);
  other[1].start = {1, 2};
  other[1].end = {1, 2};
  write_span_logits(folder.path("b.jsonl"), other);
  EXPECT_THAT(usage_error([&] {
                average_span_logits({folder.path("a.jsonl"), folder.path("b.jsonl")});
              }),
              HasSubstr("b.jsonl: window 1 of question 'q' with 2 logits is not in"));
  EXPECT_THAT(
      usage_error([&] {
        read_span_logits(folder.write("c.jsonl", R"({"id":"q","window":0,"start_logits":[1]})"));
      }),
      HasSubstr("line 1: \"end_logits\" must be a list of numbers"));
}

TEST(SpanLogits, SavedOnesGiveTheSameAnswers) {
  const TemporaryFolder folder;
  SquadDataset dataset;
  dataset.contexts = {"The old man met a boy in the town of York ."};
  dataset.questions = {{.id = "q", .question = "who?", .context = 0, .answers = {}}};
  const WordPieceTokenizer tokenizer(
      testing::repository_file("tests/golden/bert-vocab/uncased.txt"), LetterCase::kLower);
  const auto features = build_squad_features(
      dataset, tokenizer, {.doc_stride = 3, .max_query_length = 4}, 12, SquadUse::kEvaluation);
  ASSERT_GT(features.windows.size(), 1U);
  std::vector<std::vector<float>> numbers;
  std::vector<WindowLogits> logits;
  for (size_t w = 0; w < features.windows.size(); ++w) {
    for (const float factor : {1.3F, 0.7F}) {
      auto& row = numbers.emplace_back();
      for (size_t p = 0; p < 12; ++p) {
        row.push_back(std::sin(factor * static_cast<float>(10 * w + p)));
      }
    }
  }
  for (size_t w = 0; w < features.windows.size(); ++w) {
    logits.push_back({numbers[2 * w], numbers[2 * w + 1]});
  }
  write_span_logits(folder.path("a.jsonl"), span_logits(dataset, features, logits));
  const auto saved = average_span_logits({folder.path("a.jsonl"), folder.path("a.jsonl")});
  const auto direct = predict_answers(dataset, features, logits, {})[0];
  const auto again =
      predict_answers(dataset, features, window_logits(dataset, features, saved), {})[0];
  ASSERT_EQ(direct.n_best.size(), again.n_best.size());
  EXPECT_FALSE(direct.best_text.empty());
  for (size_t i = 0; i < direct.n_best.size(); ++i) {
    EXPECT_EQ(direct.n_best[i].text, again.n_best[i].text);
    EXPECT_EQ(direct.n_best[i].probability, again.n_best[i].probability);
  }
  auto fewer = saved;
  fewer.pop_back();
  EXPECT_THAT(usage_error([&] { window_logits(dataset, features, fewer); }),
              HasSubstr("use the vocabulary, sequence length and stride they were made with"));
}

}  // namespace
}  // namespace megalith

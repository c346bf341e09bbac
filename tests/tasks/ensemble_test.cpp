// From files of predictions to scores and official files, as --ensemble does it.
#include "megalith/tasks/finetune/ensemble.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "megalith/tasks/finetune/class_predictions.hpp"
#include "tests/tasks/example_files.hpp"

namespace megalith {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::usage_error;

TEST(Ensemble, ClassesAreAveragedWrittenAndScored) {
  const TemporaryFolder folder;
  const auto save = [&](const char* name, std::vector<double> first, std::vector<double> second,
                        std::optional<int64_t> label) {
    write_class_predictions(folder.path(name),
                            {.classes = {"0", "1"},
                             .rows = {{.id = "a", .group = "", .logits = first, .label = label},
                                      {.id = "b", .group = "", .logits = second, .label = label}}});
    return folder.path(name);
  };
  // One vote of 0.1 and two of 0.6 for class 1 are 0.43; the majority would say 1.
  const double odds = std::log(0.6 / 0.4), against = std::log(0.1 / 0.9);
  const std::vector<std::string> paths = {save("a", {0, against}, {0, 1}, 1),
                                          save("b", {0, odds}, {0, 1}, 1),
                                          save("c", {0, odds}, {0, 1}, 1)};
  const auto scores = ensemble_classes(paths, folder.path("mean"), "1");
  EXPECT_EQ(scores["accuracy"], 0.5);
  EXPECT_NEAR(scores["f1"].get<double>(), 2.0 / 3, 1e-15);
  EXPECT_NEAR(read_class_predictions(folder.path("mean")).rows[0].probabilities()[1], 1.3 / 3,
              1e-15);
  const auto unlabelled = save("d", {0, 1}, {0, 1}, std::nullopt);
  EXPECT_EQ(ensemble_classes({unlabelled, unlabelled}, std::nullopt, std::nullopt).dump(),
            R"({"total":2})");
}

/// "Bob met Al." with a question that has an answer and one that has none.
struct Reading {
  Reading()
      : tokenizer(testing::repository_file("tests/golden/bert-vocab/uncased.txt"),
                  LetterCase::kLower) {
    dataset.path = "dev.json";
    dataset.has_unanswerable = true;
    dataset.contexts = {"Bob met Al."};
    dataset.questions = {
        {.id = "a", .question = "who?", .context = 0, .answers = {{"Bob", 0}}},
        {.id = "b", .question = "why?", .context = 0, .answers = {}, .is_impossible = true}};
    features = build_squad_features(dataset, tokenizer, {}, 384, SquadUse::kEvaluation);
  }
  /// Logits of "Bob" for both questions, and of no answer for each.
  std::vector<SpanLogits> logits(float none_for_a, float none_for_b) const {
    std::vector<SpanLogits> rows;
    for (const auto& window : features.windows) {
      std::vector<float> row(window.features.ids.size(), 0);
      row[static_cast<size_t>(window.context_place)] = 5;
      row[0] = window.question == 0 ? none_for_a : none_for_b;
      rows.push_back({dataset.questions[window.question].id, window.number, row, row});
    }
    return rows;
  }

  WordPieceTokenizer tokenizer;
  SquadDataset dataset;
  SquadFeatures features;
};

TEST(Ensemble, SpansAreAveragedAndTheThresholdIsFound) {
  const TemporaryFolder folder;
  const Reading reading;
  write_span_logits(folder.path("a"), reading.logits(8, 9));
  write_span_logits(folder.path("b"), reading.logits(4, 9));
  const std::vector<std::string> paths = {folder.path("a"), folder.path("b")};
  const AnswerFiles files{.answers = folder.path("answers.json"),
                          .n_best = std::nullopt,
                          .null_odds = folder.path("odds.json"),
                          .span_logits = std::nullopt};
  // The means of no answer are 6 and 9, the odds 2 and 8: the first question is answered up to 2.
  const auto scores = ensemble_spans(reading.dataset, reading.features, paths, {}, files);
  EXPECT_EQ(scores["threshold"], 2.0);
  EXPECT_EQ(scores["exact"], 100.0);
  EXPECT_EQ(nlohmann::json::parse(folder.read("answers.json")).dump(), R"({"a":"Bob","b":""})");
  EXPECT_EQ(nlohmann::json::parse(folder.read("odds.json")).dump(), R"({"a":2.0,"b":8.0})");
  const auto given = ensemble_spans(reading.dataset, reading.features, paths,
                                    {.null_score_diff_threshold = 1.5}, files);
  EXPECT_EQ(given["HasAns_exact"], 0.0);
  EXPECT_EQ(given["NoAns_exact"], 100.0);
  EXPECT_EQ(given["threshold"], 1.5);
}

TEST(Ensemble, WithoutAnswersAThresholdMustBeGiven) {
  Reading reading;
  reading.dataset.is_labelled = false;
  const auto logits = reading.logits(8, 9);
  EXPECT_THAT(usage_error([&] { finish_squad(reading.dataset, reading.features, logits, {}, {}); }),
              HasSubstr("dev.json: has no answers to find the threshold of no answer on; give "
                        "--null-score-diff-threshold"));
  EXPECT_EQ(finish_squad(reading.dataset, reading.features, logits,
                         {.null_score_diff_threshold = 0.0}, {})
                .dump(),
            R"({"total":2,"threshold":0.0})");
}

}  // namespace
}  // namespace megalith

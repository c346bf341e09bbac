// SQuAD on XQuAD's English part: windows, answers and scores against transformers 4's processing of
// SQuAD and the published scripts (tests/oracles/squad_reference.py, squad_metrics_reference.py).
#include "megalith/tasks/finetune/squad.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/digest.hpp"
#include "megalith/tasks/finetune/squad_answers.hpp"
#include "tests/tasks/example_files.hpp"

namespace megalith {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::repository_file;
using testing::TemporaryFolder;
using testing::usage_error;

nlohmann::json golden(const char* name) {
  return nlohmann::json::parse(read_text_file(repository_file("tests/golden/finetune/") + name));
}

WordPieceTokenizer uncased() {
  return WordPieceTokenizer(repository_file("tests/golden/bert-vocab/uncased.txt"),
                            LetterCase::kLower);
}

template <class T>
unsigned long crc(const std::vector<T>& values) {
  return ::crc32(0, reinterpret_cast<const unsigned char*>(values.data()),
                 static_cast<unsigned>(values.size() * sizeof(T)));
}

std::string window_line(const SquadWindow& window) {
  const std::vector<uint8_t> flags(window.has_most_context.begin(), window.has_most_context.end());
  return fmt::format("{} {} {} {} {} {} {} {} {}", window.question, window.features.ids.size(),
                     crc(window.features.ids), crc(window.features.types), window.first_piece,
                     window.num_pieces, window.start, window.end, crc(flags));
}

TEST(SquadWindows, EqualThePublicRecipe) {
  MEGALITH_LARGE_FILE(path, "squad/xquad.en.json");
  const auto dataset = read_squad(path);
  EXPECT_EQ(dataset.questions.size(), 1'190U);
  EXPECT_EQ(dataset.contexts.size(), 240U);
  EXPECT_FALSE(dataset.has_unanswerable);
  const auto features = build_squad_features(dataset, uncased(), {}, 384, SquadUse::kTraining);
  EXPECT_EQ(features.report.num_left_out(), 0);
  std::ifstream in(repository_file("tests/golden/finetune/squad_windows.txt"));
  std::vector<std::string> expected;
  for (std::string line; std::getline(in, line);) expected.push_back(line);
  ASSERT_EQ(features.windows.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(window_line(features.windows[i]), expected[i]) << "window " << i;
  }
}

TEST(SquadWindows, EqualThePublicRecipeWhereWindowsOverlap) {
  MEGALITH_LARGE_FILE(path, "squad/xquad.en.json");
  const auto features =
      build_squad_features(read_squad(path), uncased(), {.doc_stride = 40, .max_query_length = 20},
                           128, SquadUse::kTraining);
  std::string lines;
  for (const auto& window : features.windows) lines += window_line(window) + "\n";
  EXPECT_EQ(features.windows.size(), golden("squad.json")["short_windows"].get<size_t>());
  EXPECT_EQ(sha256_hex(lines), golden("squad.json")["short_windows_sha256"].get<std::string>());
}

/// The oracle's noise, 20 bits a number.
float noise(uint32_t window, uint32_t place, uint32_t kind) {
  uint32_t x = window * 1000003U + place * 8191U + kind * 131071U + 12345U;
  x *= 2654435761U;
  x ^= x >> 15;
  x *= 2246822519U;
  x ^= x >> 13;
  return static_cast<float>(x >> 12) / 131072.0F - 4.0F;
}

struct Logits {
  std::vector<std::vector<float>> numbers;
  std::vector<WindowLogits> windows;
};

Logits make_logits(const SquadFeatures& trained, bool unanswerable) {
  Logits logits;
  for (uint32_t w = 0; w < trained.windows.size(); ++w) {
    const auto& window = trained.windows[w];
    for (const uint32_t kind : {0U, 1U}) {
      auto& row = logits.numbers.emplace_back();
      for (uint32_t p = 0; p < window.features.ids.size(); ++p) row.push_back(noise(w, p, kind));
      const int64_t peak = kind == 0 ? window.start : window.end;
      if (window.start > 0 && window.question % 4 != 0) row[static_cast<size_t>(peak)] += 6;
      if (unanswerable && window.question % 3 == 0) row[0] += 5;
      row.insert(row.end(), 7, 100.0F);  // padding, which must not be looked at
    }
  }
  for (size_t w = 0; w < trained.windows.size(); ++w) {
    logits.windows.push_back({logits.numbers[2 * w], logits.numbers[2 * w + 1]});
  }
  return logits;
}

void make_unanswerable(SquadDataset& dataset) {
  dataset.has_unanswerable = true;
  for (size_t i = 0; i < dataset.questions.size(); i += 3) {
    dataset.questions[i].answers.clear();
    dataset.questions[i].is_impossible = true;
  }
}

void expect_predictions(const std::vector<SquadPrediction>& predictions,
                        const nlohmann::json& expected, std::optional<double> threshold) {
  const TemporaryFolder folder;
  write_answers(folder.path("predictions.json"), predictions, threshold);
  EXPECT_EQ(sha256_hex(folder.read("predictions.json")),
            expected["predictions"].get<std::string>());
  write_n_best(folder.path("n_best.json"), predictions);
  const auto n_best = nlohmann::json::parse(folder.read("n_best.json"));
  for (const auto& [id, rows] : expected["n_best"].items()) {
    ASSERT_EQ(n_best[id].size(), 20U + (threshold && n_best[id].size() == 21 ? 1U : 0U)) << id;
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(n_best[id][i]["text"], rows[i][0]) << id << " " << i;
      EXPECT_NEAR(n_best[id][i]["probability"].get<double>(), rows[i][1].get<double>(), 1e-14);
      EXPECT_EQ(n_best[id][i]["start_logit"].get<double>(), rows[i][2].get<double>());
      EXPECT_EQ(n_best[id][i]["end_logit"].get<double>(), rows[i][3].get<double>());
    }
  }
  write_null_odds(folder.path("odds.json"), predictions);
  const auto odds = read_null_odds(folder.path("odds.json"));
  for (const auto& [id, value] : expected["odds"].items()) {
    EXPECT_EQ(odds.at(id), value.get<double>()) << id;
  }
}

TEST(SquadAnswers, EqualThePublicRecipe) {
  MEGALITH_LARGE_FILE(path, "squad/xquad.en.json");
  const auto dataset = read_squad(path);
  const auto tokenizer = uncased();
  const auto trained = build_squad_features(dataset, tokenizer, {}, 384, SquadUse::kTraining);
  const auto features = build_squad_features(dataset, tokenizer, {}, 384, SquadUse::kEvaluation);
  const auto logits = make_logits(trained, false);
  const auto predictions = predict_answers(dataset, features, logits.windows, {});
  const auto expected = golden("squad.json")["v1"];
  expect_predictions(predictions, expected, std::nullopt);
  const auto result = evaluate_predictions(dataset, predictions, std::nullopt);
  EXPECT_EQ(result.all.exact, expected["scores"]["exact"].get<double>());
  EXPECT_EQ(result.all.f1, expected["scores"]["f1"].get<double>());
  EXPECT_EQ(result.num_missing, 0);
}

TEST(SquadAnswers, EqualThePublicRecipeWhereAnswersMayBeMissing) {
  MEGALITH_LARGE_FILE(path, "squad/xquad.en.json");
  auto dataset = read_squad(path);
  make_unanswerable(dataset);
  const auto trained = build_squad_features(dataset, uncased(), {}, 384, SquadUse::kTraining);
  const auto logits = make_logits(trained, true);
  const auto predictions = predict_answers(dataset, trained, logits.windows, {});
  const auto expected = golden("squad.json")["v2"];
  expect_predictions(predictions, expected, 0.0);
  const auto result = evaluate_predictions(dataset, predictions, 0.0);
  const auto& scores = expected["scores"];
  EXPECT_EQ(result.all.exact, scores["exact"].get<double>());
  EXPECT_EQ(result.all.f1, scores["f1"].get<double>());
  EXPECT_EQ(result.has_ans->exact, scores["HasAns_exact"].get<double>());
  EXPECT_EQ(result.has_ans->f1, scores["HasAns_f1"].get<double>());
  EXPECT_EQ(result.has_ans->total, scores["HasAns_total"].get<int64_t>());
  EXPECT_EQ(result.no_ans->f1, scores["NoAns_f1"].get<double>());
  EXPECT_EQ(result.no_ans->total, scores["NoAns_total"].get<int64_t>());
  EXPECT_EQ(*result.best_exact, scores["best_exact"].get<double>());
  EXPECT_EQ(*result.best_exact_threshold, scores["best_exact_thresh"].get<double>());
  EXPECT_EQ(*result.best_f1, scores["best_f1"].get<double>());
  EXPECT_EQ(*result.best_f1_threshold, scores["best_f1_thresh"].get<double>());
  // Without a threshold the best one of F1 is found and used.
  const auto best = evaluate_predictions(dataset, predictions, std::nullopt);
  EXPECT_NEAR(best.all.f1, scores["best_f1"].get<double>(), 1e-10);  // summed in another order
  const auto names = score_object(best);
  EXPECT_EQ(names["HasAns_f1"].get<double>(), best.has_ans->f1);
  EXPECT_EQ(names["best_f1_thresh"].get<double>(), scores["best_f1_thresh"].get<double>());
}

TEST(SquadMetrics, EqualThePublishedScripts) {
  for (const auto& row : golden("squad_metrics.json")) {
    const auto prediction = row["prediction"].get<std::string>();
    SCOPED_TRACE(row.dump());
    EXPECT_EQ(normalize_answer(prediction), row["normalized"].get<std::string>());
    SquadDataset dataset;
    dataset.contexts = {"x"};
    dataset.questions = {{.id = "q", .question = "", .context = 0, .answers = {}}};
    for (const auto& answer : row["answers"]) dataset.questions[0].answers.push_back({answer, 0});
    const auto v1 = evaluate_squad_v1(dataset, {{"q", prediction}});
    const auto v2 = evaluate_squad_v2(dataset, {{"q", prediction}});
    EXPECT_EQ(v1.all.exact, 100.0 * row["exact_v1"].get<double>());
    EXPECT_EQ(v1.all.f1, 100.0 * row["f1_v1"].get<double>());
    EXPECT_EQ(v2.all.exact, 100.0 * row["exact_v2"].get<double>());
    EXPECT_EQ(v2.all.f1, 100.0 * row["f1_v2"].get<double>());
  }
}

TEST(SquadMetrics, MissingPredictions) {
  SquadDataset dataset;
  dataset.path = "dev.json";
  dataset.contexts = {"x"};
  dataset.questions = {{.id = "q", .question = "", .context = 0, .answers = {{"x", 0}}},
                       {.id = "r", .question = "", .context = 0, .answers = {{"x", 0}}}};
  const auto result = evaluate_squad_v1(dataset, {{"q", "x"}});
  EXPECT_EQ(result.all.exact, 50);
  EXPECT_EQ(result.num_missing, 1);
  EXPECT_EQ(
      usage_error([&] {
        evaluate_squad_v2(dataset, {{"q", "x"}});
      }),
      "1 of 2 questions of dev.json have no prediction, the first is 'r'; the predictions must "
      "be those of this file");
}

std::string squad_file(const std::string& qas, const std::string& context = "Bob met Al.") {
  return R"({"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": ")" + context +
         R"(", "qas": [)" + qas + "]}]}]}";
}

TEST(SquadReader, SaysWhatIsWrongAndWhere) {
  const TemporaryFolder folder;
  const auto error = [&](const std::string& text) {
    const auto path = folder.write("dev.json", text);
    return usage_error([&] { read_squad(path); });
  };
  EXPECT_THAT(error("{\"data\": [\n  {]}"),
              HasSubstr("dev.json: is no JSON: parse error at line 2, column 4"));
  EXPECT_THAT(error("{}"), HasSubstr("dev.json: has no \"data\""));
  EXPECT_THAT(error(R"({"data": [{"paragraphs": 3}]})"),
              HasSubstr("data/0/paragraphs: is number, expected a list"));
  const std::string qa =
      R"({"id": "a", "question": "q", "answers": [{"text": "Bob", "answer_start": 0}]})";
  EXPECT_THAT(error(squad_file(qa + "," + qa)),
              HasSubstr("data/0/paragraphs/0/qas/1: the id 'a' was there before, at "
                        "data/0/paragraphs/0/qas/0; ids must be unique"));
  EXPECT_THAT(error(squad_file(qa, " ")), HasSubstr("data/0/paragraphs/0: the context is empty"));
  EXPECT_THAT(
      error(squad_file(R"({"id": 7, "answers": [{"text": "Bob"}]})")),
      AllOf(HasSubstr("qas/0/id: is '7', expected a text"), HasSubstr("qas/0: has no \"question\""),
            HasSubstr("answers/0: \"answer_start\" is missing")));
}

TEST(SquadReader, AnswersThatDoNotStandInTheirContextAreLeftOutOfTraining) {
  const TemporaryFolder folder;
  const auto qa = [](const char* id, const char* text, int start) {
    return fmt::format(
        R"({{"id": "{}", "question": "who?", "answers": [{{"text": "{}", "answer_start": {}}}]}})",
        id, text, start);
  };
  const auto path = folder.write(
      "train.json", squad_file(qa("good", "Al", 8) + "," + qa("wrong", "Bob", 8) + "," +
                               qa("outside", "Al", 99) + "," + qa("negative", "Al", -1)));
  const auto dataset = read_squad(path);
  const auto tokenizer = uncased();
  const auto features = build_squad_features(dataset, tokenizer, {}, 384, SquadUse::kTraining);
  ASSERT_EQ(features.windows.size(), 1U);
  const auto& window = features.windows[0];
  EXPECT_EQ(window.start, window.context_place + 2);
  EXPECT_EQ(window.end, window.start);
  EXPECT_THAT(features.report.texts().at(0),
              HasSubstr("left out 3 of 4, the answer does not stand at its place in the context: "
                        "wrong ('Bob' at 8), outside ('Al' at 99), negative ('Al' at -1)"));
  EXPECT_EQ(build_squad_features(dataset, tokenizer, {}, 384, SquadUse::kEvaluation).windows.size(),
            4U);
}

TEST(SquadReader, QuestionsOfVersionTwoMayHaveNoAnswer) {
  const TemporaryFolder folder;
  const auto path = folder.write(
      "dev.json",
      squad_file(R"({"id": "a", "question": "q", "answers": [{"text": "Al", "answer_start": 8}],)"
                 R"( "is_impossible": false}, {"id": "b", "question": "q", "answers": [],)"
                 R"( "plausible_answers": [{"text": "Bob", "answer_start": 0}],)"
                 R"( "is_impossible": true})"));
  const auto dataset = read_squad(path);
  EXPECT_TRUE(dataset.has_unanswerable);
  EXPECT_TRUE(dataset.is_labelled);
  EXPECT_TRUE(dataset.questions[1].is_impossible);
  const auto windows =
      build_squad_features(dataset, uncased(), {}, 384, SquadUse::kTraining).windows;
  ASSERT_EQ(windows.size(), 2U);
  EXPECT_GT(windows[0].start, 0);
  EXPECT_EQ(windows[1].start, 0);
  EXPECT_EQ(windows[1].end, 0);
  const auto wrong = folder.write(
      "wrong.json", squad_file(R"({"id": "a", "question": "q", "is_impossible": true, "answers":)"
                               R"( [{"text": "Al", "answer_start": 8}]})"));
  EXPECT_THAT(usage_error([&] { read_squad(wrong); }),
              HasSubstr("qas/0: is_impossible is true and there is the answer 'Al'"));
}

TEST(SquadReader, TestFilesHaveNoAnswers) {
  const TemporaryFolder folder;
  const auto dataset =
      read_squad(folder.write("test.json", squad_file(R"({"id": "a", "question": "q"})")));
  EXPECT_FALSE(dataset.is_labelled);
  EXPECT_THAT(
      usage_error([&] { build_squad_features(dataset, uncased(), {}, 384, SquadUse::kTraining); }),
      HasSubstr("questions without answers; training needs a file with answers"));
  EXPECT_THAT(usage_error([&] { evaluate_predictions(dataset, {}, std::nullopt); }),
              HasSubstr("test.json: questions without answers; there is nothing to score"));
}

TEST(SquadAnswers, AreTheOriginalTextAndBadLogitsAreRefused) {
  const TemporaryFolder folder;
  const auto dataset = read_squad(folder.write(
      "dev.json", squad_file(R"({"id": "a", "question": "q"})", "Im Café\\u0301  «Zürich»?")));
  const auto features = build_squad_features(dataset, uncased(), {}, 384, SquadUse::kEvaluation);
  ASSERT_EQ(features.windows.size(), 1U);
  const size_t size = features.windows[0].features.ids.size();
  std::vector<float> start(size, 0), end(size, 0);
  const auto first = static_cast<size_t>(features.windows[0].context_place);
  start[first + 1] = 9;  // Café
  end[first + 3] = 9;    // Zürich
  const std::vector<WindowLogits> logits = {{start, end}};
  EXPECT_EQ(predict_answers(dataset, features, logits, {})[0].best_text, "Café\u0301  «Zürich");
  end[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(predict_answers(dataset, features, logits, {}), RunError);
}

}  // namespace
}  // namespace megalith

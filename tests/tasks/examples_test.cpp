// LAMBADA and multiple choice against transformers (tests/oracles/evaluation_reference.py): each
// log probability and each decision, on every layout; and what files of examples may hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "megalith/tasks/cloze.hpp"
#include "megalith/tasks/multiple_choice.hpp"
#include "tests/tasks/tiny_evaluation.hpp"
#include "tests/tokenizer/golden_files.hpp"

namespace megalith {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::load_tiny_gpt2;
using testing::RankContext;
using testing::run_ranks;
using Ids = std::vector<int32_t>;

constexpr double kTolerance = 1e-5;

const nlohmann::json& golden() {
  static const auto json = testing::read_golden_json("gpt2_tiny_evaluate.json");
  return json;
}

TEST(Cloze, AgreesWithTransformersOnEveryLayout) {
  std::vector<Continuing> examples;
  int64_t correct = 0;
  for (const auto& row : golden().at("cloze")) {
    examples.push_back({row.at("context").get<Ids>(), row.at("target").get<Ids>()});
    fit_window(examples.back(), golden().at("window"));
    EXPECT_EQ(examples.back().truncated, row.at("truncated").get<bool>());
    correct += row.at("correct").get<bool>() ? 1 : 0;
  }
  for (const auto& layout : testing::kEvaluationLayouts) {
    run_ranks(layout, [&](RankContext& rank) {
      const GptModel model = load_tiny_gpt2(rank.groups(), at::kDouble);
      for (const int64_t rows : {1, 7, 64}) {
        const auto results =
            evaluate_cloze(model, rank.groups(), examples, {.micro_batch_size = rows});
        for (size_t i = 0; i < results.size(); ++i) {
          const auto& row = golden().at("cloze")[i];
          EXPECT_NEAR(results[i].log_probability, row.at("log_probability").get<double>(),
                      kTolerance);
          EXPECT_EQ(results[i].likeliest, row.at("likeliest").get<Ids>());
          EXPECT_EQ(results[i].correct, row.at("correct").get<bool>());
        }
        Report report("lambada");
        add_cloze(report, examples, results);
        EXPECT_EQ(report.number("correct"), correct);
        EXPECT_EQ(report.number("accuracy"), static_cast<double>(correct) / 40);
      }
    });
  }
}

TEST(Choices, AgreeWithTransformersOnEveryLayout) {
  std::vector<EncodedChoices> examples;
  std::vector<ChoiceExample> texts;
  TokenizerConfig ids;
  ids.tokenizer_type = "NullTokenizer";
  ids.vocab_size = 95;
  const auto tokenizer = make_tokenizer(ids);
  int64_t by_sum = 0, by_token = 0;
  for (const auto& row : golden().at("choices")) {
    ChoiceExample text;
    text.query = fmt::format("{}", fmt::join(row.at("context").get<Ids>(), " "));
    for (const auto& choice : row.at("choices")) {
      text.choices.push_back(fmt::format("{}", fmt::join(choice.get<Ids>(), " ")));
    }
    text.gold = row.at("gold");
    texts.push_back(text);
    by_sum += row.at("by_sum") == row.at("gold") ? 1 : 0;
    by_token += row.at("by_token") == row.at("gold") ? 1 : 0;
  }
  Problems problems;
  examples = encode_choices("f", texts, *tokenizer, " ", golden().at("window"), problems);
  EXPECT_TRUE(problems.empty());
  for (const auto& layout : testing::kEvaluationLayouts) {
    run_ranks(layout, [&](RankContext& rank) {
      const GptModel model = load_tiny_gpt2(rank.groups(), at::kDouble);
      for (const int64_t rows : {1, 4, 64}) {
        const auto results =
            evaluate_choices(model, rank.groups(), examples, {.micro_batch_size = rows});
        for (size_t i = 0; i < results.size(); ++i) {
          const auto& row = golden().at("choices")[i];
          EXPECT_EQ(examples[i].truncated, row.at("truncated").get<bool>());
          const auto expected = row.at("log_probabilities").get<std::vector<double>>();
          EXPECT_THAT(results[i].log_probabilities,
                      ::testing::Pointwise(::testing::DoubleNear(kTolerance), expected));
          EXPECT_EQ(results[i].by_sum, row.at("by_sum").get<int64_t>());
          EXPECT_EQ(results[i].by_token, row.at("by_token").get<int64_t>());
        }
        Report report("multiple-choice");
        add_choices(report, examples, results);
        EXPECT_EQ(report.number("accuracy"), static_cast<double>(by_sum) / 30);
        EXPECT_EQ(report.number("accuracy_per_token"), static_cast<double>(by_token) / 30);
      }
    });
  }
}

TEST(Cloze, CutsTheTextBeforeItsLastWord) {
  const auto tokenizer = testing::make_gpt2();
  const auto strict = encode_cloze({.text = " Call me  Ishmaelite \n"}, *tokenizer, true);
  EXPECT_EQ(tokenizer->decode(strict.context), "Call me");
  EXPECT_EQ(tokenizer->decode(strict.target), " Ishmaelite");
  EXPECT_GT(strict.target.size(), 1U);
  const auto loose = encode_cloze({.text = "Call me Ishmaelite"}, *tokenizer, false);
  EXPECT_EQ(loose.target, Ids{strict.target.back()});
  EXPECT_EQ(loose.context.size(), strict.context.size() + strict.target.size() - 1);
  for (const char* text : {"", " \n", "Ishmael", " word "}) {
    EXPECT_THROW(encode_cloze({.text = text}, *tokenizer, true), UsageError) << text;
  }
}

TEST(Cloze, WindowKeepsTheRightOfTheContext) {
  Continuing example{{1, 2, 3, 4, 5}, {6, 7}};
  fit_window(example, 6);  // inputs: five of context, one of the target
  EXPECT_FALSE(example.truncated);
  fit_window(example, 3);
  EXPECT_TRUE(example.truncated);
  EXPECT_THAT(example.context, ElementsAre(4, 5));
  fit_window(example, 2);
  EXPECT_THAT(example.context, ElementsAre(5));
  EXPECT_THROW(fit_window(example, 1), UsageError);
}

std::string mistakes_of_choices(const std::string& lines) {
  testing::TemporaryFolder folder;
  folder.write("q.jsonl", lines);
  Problems problems;
  read_choice_examples(folder.path("q.jsonl"), problems);
  return fmt::format("{}", fmt::join(problems.texts(), "\n"));
}

TEST(Examples, BrokenLinesAreToldWithTheirNumbers) {
  EXPECT_EQ(mistakes_of_choices(R"({"query":"q","choices":["a"],"gold":0})"), "");
  const std::string told = mistakes_of_choices(R"({"query":"q","choices":["a","b"],"gold":1}
{"query":"q","choices":["a","b"],"gold":2}

{"query":"q","choices":[],"gold":0}
{"choices":["a"],"gold":0}
{"query":"q","choices":["a",3],"gold":0}
{"query":"q","choices":["a"],"gold":-1}
{"query":"q","choices":["a"],"gold":"0"}
{"query":7,"choices":["a"],"gold":0}
[1]
{"query":
)");
  for (const char* part :
       {"q.jsonl: line 2: \"gold\" is '2', and the 2 choices are numbered 0 to 1",
        "line 4: \"choices\"", "line 5: has no \"query\"", "line 6: the choice '3'",
        "line 7: \"gold\" is '-1'", "line 8: \"gold\" is '\"0\"'", "line 9: \"query\" is '7'",
        "line 10: is the list '[1]', expected an object",
        "line 11: is no JSON: parse error at column"}) {
    EXPECT_THAT(told, HasSubstr(part));
  }
  std::string many;
  for (int i = 0; i < 25; ++i) many += "{}\n";
  EXPECT_THAT(mistakes_of_choices(many), HasSubstr("line 10: has no"));
  EXPECT_THAT(mistakes_of_choices(many), HasSubstr("15 more mistakes"));
  EXPECT_THAT(mistakes_of_choices("\n"), HasSubstr("holds no example"));
}

}  // namespace
}  // namespace megalith

// megalith evaluate from outside: real processes, files, layouts and mistakes. The model is the
// tiny GPT-2 of transformers' golden numbers, saved by this test; ids are text (NullTokenizer).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "megalith/checkpoint/model_io.hpp"
#include "megalith/core/atomic_file.hpp"
#include "megalith/tokenizer/tokenizer.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"
#include "tests/tasks/tiny_evaluation.hpp"

namespace megalith::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

std::string ids_text(const Json& ids) {
  return fmt::format("{}", fmt::join(ids.get<std::vector<int32_t>>(), " "));
}

class Evaluate : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    ModelConfig config = tiny_evaluated_gpt2();
    TokenizerConfig tokenizer;
    tokenizer.tokenizer_type = "NullTokenizer";
    tokenizer.vocab_size = 95;
    const ProcessGroups groups;
    const GptModel model = load_tiny_gpt2(groups, at::kFloat);
    const Json meta{{"model", fields_to_json(config.shape_fields())},
                    {"tokenizer", fields_to_json(tokenizer.fields())},
                    {"configuration", {{"Training", {{"seq-length", 9}}}}},
                    {"iteration", 7}};
    save_checkpoint(file("save"), 7, weights_of(model), meta, groups);
    golden_ = read_golden_json("gpt2_tiny_evaluate.json");
    folder_->write("stream.txt", ids_text(golden_.at("stream")) + "\n");
    std::string lambada, questions;
    for (const auto& row : golden_.at("cloze")) {
      if (row.at("target").size() == 1) {
        const std::string text = ids_text(row.at("context")) + " " + ids_text(row.at("target"));
        lambada += Json{{"text", text}}.dump() + "\n";
        is_correct_.push_back(row.at("correct"));
      }
    }
    for (const auto& row : golden_.at("choices")) {
      Json line{{"query", ids_text(row.at("context"))}, {"gold", row.at("gold")}};
      for (const auto& choice : row.at("choices")) line["choices"].push_back(ids_text(choice));
      questions += line.dump() + "\n";
    }
    folder_->write("lambada.jsonl", lambada);
    folder_->write("questions.jsonl", questions);
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string file(const std::string& name) { return folder_->path(name); }
  static std::string write(const std::string& name, const std::string& text) {
    return folder_->write(name, text);
  }

  static ProcessResult run(const Words& words, int num_ranks = 1) {
    Words all{MEGALITH_BINARY};
    if (num_ranks > 1) all = all + Words{"launch", "--nproc-per-node", std::to_string(num_ranks)};
    return run_process(all + Words{"evaluate"} + words, {}, 120);
  }
  static ProcessResult evaluate(const std::string& task, const std::string& data,
                                const Words& flags, int num_ranks = 1) {
    return run(
        Words{task, "--load", file("save"), "--data", file(data), "--num-threads", "1"} + flags,
        num_ranks);
  }
  /// The report of a run that must succeed, written over a file that is already there.
  static Json report(const std::string& task, const std::string& data, const Words& flags,
                     int num_ranks = 1) {
    std::ofstream(file("report.json")) << "old";
    const auto result =
        evaluate(task, data, flags + Words{"--report", file("report.json")}, num_ranks);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr(task + "\n"));
    return Json::parse(read_text_file(file("report.json")));
  }

  static inline std::unique_ptr<TemporaryFolder> folder_;
  static inline Json golden_;
  static inline std::vector<bool> is_correct_;
};

const std::vector<std::pair<int, Words>> kLayouts{
    {1, {}}, {1, {"--micro-batch-size", "3"}}, {2, {"--tensor-model-parallel-size", "2"}},
    {2, {}}, {3, {"--micro-batch-size", "1"}}, {4, {"--tensor-model-parallel-size", "2"}}};

TEST_F(Evaluate, PerplexityIsTransformersOnEveryLayout) {
  for (const auto& [ranks, flags] : kLayouts) {
    const auto& row = golden_.at("perplexity")[1];
    const Json found =
        report("perplexity", "stream.txt",
               flags + Words{"--seq-length", "16", "--overlapping-eval", "3"}, ranks);
    EXPECT_EQ(found.at("tokens"), 82);
    EXPECT_NEAR(found.at("perplexity"), row.at("perplexity").get<double>(),
                1e-5 * row.at("perplexity").get<double>());
    EXPECT_EQ(found.at("overlapping_eval"), 3);
  }
  for (const auto& row : golden_.at("perplexity")) {
    const Json found = report(
        "perplexity", "stream.txt",
        {"--seq-length", row.at("window").dump(), "--overlapping-eval", row.at("stride").dump()});
    EXPECT_NEAR(found.at("loss"), row.at("loss").get<double>(),
                1e-5 * row.at("loss").get<double>());
  }
}

TEST_F(Evaluate, WindowDefaultsToTheCheckpointsAndStrideToTheWindowWhereItIsShorter) {
  const Json found = report("perplexity", "stream.txt", {});
  EXPECT_EQ(found.at("seq_length"), 9);
  EXPECT_EQ(found.at("overlapping_eval"), 9);
}

TEST_F(Evaluate, TellsHowFarItIsWhereThereIsNoTerminal) {
  const auto result =
      evaluate("perplexity", "stream.txt", {"--overlapping-eval", "1", "--micro-batch-size", "1"});
  EXPECT_THAT(result.err, AllOf(HasSubstr("evaluated 8 of 74 rows, 11%, "), HasSubstr(" left\n"),
                                HasSubstr("evaluated 67 of 74 rows, 91%, ")));
}

TEST_F(Evaluate, DatasetsAndJsonLinesAreStreamsToo) {
  std::string lines;
  for (const char* text : {"3 1 4", "1 5 9 2 6", "5"}) lines += Json{{"text", text}}.dump() + "\n";
  const std::string corpus = write("corpus.jsonl", lines);
  const auto made = run_process({MEGALITH_BINARY, "preprocess", "--input", corpus,
                                 "--output-prefix", file("corpus"), "--tokenizer-type",
                                 "NullTokenizer", "--vocab-size", "95", "--append-eod"});
  ASSERT_EQ(made.status, 0) << made.err;
  write("corpus.txt", "3 1 4 95 1 5 9 2 6 95 5 95");
  const Json from_dataset = report("perplexity", "corpus_text_document", {});
  const Json from_lines = report("perplexity", "corpus.jsonl", {});
  EXPECT_EQ(from_dataset.at("tokens"), 11);
  EXPECT_EQ(from_dataset.at("loss"), from_lines.at("loss"));
}

TEST_F(Evaluate, Wikitext103CountsWordsOfTheFile) {
  // Ids between single spaces: detokenised they are what they were.
  const Json found =
      report("wikitext103", "stream.txt", {"--seq-length", "16", "--overlapping-eval", "3"});
  const double sum = golden_.at("perplexity")[1].at("log_probability");
  EXPECT_EQ(found.at("tokens"), 82);
  EXPECT_EQ(found.at("original_tokens"), 83);
  EXPECT_EQ(found.at("token_ratio"), 1.0);
  EXPECT_NEAR(found.at("word_perplexity"), std::exp(-sum / 83), 1e-5 * std::exp(-sum / 83));
  EXPECT_NEAR(found.at("adjusted_perplexity"), std::exp(-sum / 82), 1e-5 * std::exp(-sum / 82));
}

TEST_F(Evaluate, LambadaIsTransformersOnEveryLayout) {
  for (const auto& [ranks, flags] : kLayouts) {
    const Words more{"--seq-length", "12", "--predictions", file("guesses.jsonl")};
    const Json found = report("lambada", "lambada.jsonl", flags + more, ranks);
    const auto count = std::count(is_correct_.begin(), is_correct_.end(), true);
    EXPECT_EQ(found.at("examples"), is_correct_.size());
    EXPECT_EQ(found.at("correct"), count);
    EXPECT_EQ(found.at("accuracy"),
              static_cast<double>(count) / static_cast<double>(is_correct_.size()));
    std::ifstream in(file("guesses.jsonl"));
    size_t i = 0;
    for (std::string line; std::getline(in, line); ++i) {
      const Json guess = Json::parse(line);
      EXPECT_EQ(guess.at("correct"), is_correct_.at(i)) << line;
      EXPECT_EQ(guess.at("line"), i + 1);
      EXPECT_EQ(guess.at("predicted") == guess.at("target"), is_correct_.at(i)) << line;
    }
    EXPECT_EQ(i, is_correct_.size());
  }
  const Json last = report("lambada", "lambada.jsonl", {"--last-token-only", "--seq-length", "12"});
  EXPECT_EQ(last.at("rule"), "last-token-only");
}

TEST_F(Evaluate, ChoicesAreTransformersOnEveryLayout) {
  for (const auto& [ranks, flags] : kLayouts) {
    const Words more{"--seq-length", "12", "--predictions", file("answers.jsonl")};
    const Json found = report("multiple-choice", "questions.jsonl", flags + more, ranks);
    int64_t truncated = 0;
    size_t i = 0;
    std::ifstream in(file("answers.jsonl"));
    for (std::string line; std::getline(in, line); ++i) {
      const auto& row = golden_.at("choices").at(i);
      truncated += row.at("truncated").get<bool>() ? 1 : 0;
      EXPECT_EQ(Json::parse(line).at("predicted"), row.at("by_sum")) << line;
      EXPECT_EQ(Json::parse(line).at("predicted_per_token"), row.at("by_token")) << line;
    }
    EXPECT_EQ(i, 30U);
    EXPECT_EQ(found.at("truncated_examples"), truncated);
  }
}

TEST_F(Evaluate, ContaminationReadsTextLinesAndDatasetsAlike) {
  const std::string words = "1 2 3 4 5 6 7 8 9 10 11 12 13";
  write("test.txt", words);
  write("train.txt", "0 2 3 4 5 6 7 8 9 1 5 6, 7! 8\n9-10 11 12 30");
  write("train.jsonl", Json{{"text", "0 2 3 4 5 6 7 8 9 1"}}.dump() + "\n" +
                           Json{{"text", "5 6 7 8 9 10 11 12"}}.dump() + "\n");
  const auto made = run_process({MEGALITH_BINARY, "preprocess", "--input", file("train.jsonl"),
                                 "--output-prefix", file("train"), "--tokenizer-type",
                                 "NullTokenizer", "--vocab-size", "95", "--append-eod"});
  ASSERT_EQ(made.status, 0) << made.err;
  const Words decode{"--tokenizer-type", "NullTokenizer", "--vocab-size", "95"};
  const auto two = run({"contamination", "--train", file("train.txt"), "--test", file("test.txt"),
                        "--micro-batch-size", "4"},
                       2);
  EXPECT_EQ(two.status, 0) << two.err;
  EXPECT_EQ(two.out.find("contamination\n"), two.out.rfind("contamination\n"));  // said once
  EXPECT_THAT(two.err, HasSubstr("no model takes part"));
  for (const auto& [train, flags] : {std::pair{"train.txt", Words{}},
                                     {"train.jsonl", Words{}},
                                     {"train_text_document", decode}}) {
    const auto result = run(Words{"contamination", "--train", file(train), "--test",
                                  file("test.txt"), "--report", file("overlap.json")} +
                            flags);
    ASSERT_EQ(result.status, 0) << result.err;
    const Json found = Json::parse(read_text_file(file("overlap.json")));
    EXPECT_EQ(found.at("ngrams"), 6) << train;
    EXPECT_EQ(found.at("found"), 2) << train;  // 2 to 9, and 5 to 12
    EXPECT_EQ(found.at("overlap"), 2.0 / 6) << train;
  }
}

void refused(const ProcessResult& result, const Words& texts) {
  EXPECT_EQ(result.status, 2) << result.err;
  for (const auto& text : texts) EXPECT_THAT(result.err, HasSubstr(text));
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, Not(HasSubstr("Exception")));
}

TEST_F(Evaluate, MistakesAreListedTogetherBeforeTheWork) {
  refused(run({"lambada", "--load", file("nowhere"), "--data", file("missing.jsonl"), "--report",
               file("no/folder.json"), "--predictions", file("save")}),
          {"4 mistakes", "nowhere", "missing.jsonl", "no/folder.json cannot be written",
           "--predictions"});
  refused(run({"perplexity"}), {"--load is missing", "--data is missing"});
  refused(evaluate("perplexity", "stream.txt", {"--seq-length", "17"}),
          {"--seq-length 17", "16 positions"});
  refused(evaluate("perplexity", "stream.txt", {"--overlapping-eval", "10"}),
          {"--overlapping-eval 10", "window of 9"});
  refused(evaluate("perplexity", "stream.txt", {"--vocab-size", "60"}), {"61 entries", "has 96"});
  refused(evaluate("perplexity", "stream.txt", {"--num-layers", "2"}), {"the checkpoint says"});
  refused(run({"perplexiti"}), {"did you mean perplexity"});
}

TEST_F(Evaluate, BadDataIsToldWithItsPlace) {
  write("empty.txt", "");
  write("blank.txt", " \n");
  write("binary.txt", std::string("1 2\0 3", 6));
  write("latin.txt", "1 2 \xe9 3");
  write("one.txt", "7\n");
  write("broken.jsonl", "{\"text\": \"1 2\"}\n{\"text\": \"1 2\"\n{}\n");
  write("gold.jsonl", R"({"query": "1", "choices": ["2", "3"], "gold": 2})");
  write("long.jsonl", R"({"query": "1", "choices": ["2 3 4 5 6 7 8 9 10 11"], "gold": 0})");
  write("word.jsonl", R"({"text": "7"})");
  for (const char* task : {"wikitext103", "perplexity"}) {
    refused(evaluate(task, "empty.txt", {}), {"empty.txt: holds no text"});
    refused(evaluate(task, "blank.txt", {}), {"blank.txt: holds no text"});
    refused(evaluate(task, "binary.txt", {}), {"binary.txt: byte 3"});
    refused(evaluate(task, "latin.txt", {}), {"latin.txt: byte 4"});
    refused(evaluate(task, "one.txt", {}), {"one.txt: has 1 token"});
    refused(evaluate(task, "save", {}), {"save"});
  }
  refused(evaluate("lambada", "broken.jsonl", {}),
          {"broken.jsonl: line 2: is no JSON", "broken.jsonl: line 3: has no \"text\""});
  refused(evaluate("lambada", "empty.txt", {}), {"holds no example"});
  refused(evaluate("lambada", "word.jsonl", {}), {"word.jsonl: line 1: has nothing before"});
  refused(evaluate("multiple-choice", "gold.jsonl", {}), {"line 1", "numbered 0 to 1"});
  refused(evaluate("multiple-choice", "long.jsonl", {}), {"line 1: 10 tokens", "window of 9"});
  refused(run({"contamination", "--train", file("none"), "--test", file("one.txt")}),
          {"--train", "none"});
  refused(run({"contamination", "--train", file("stream.txt"), "--test", file("one.txt")}),
          {"8 words in a row"});
  refused(run({"contamination", "--train", file("broken.jsonl"), "--test", file("stream.txt")}),
          {"broken.jsonl: line 2"});
}

TEST_F(Evaluate, IdsOutsideTheVocabularyAreFoundFirst) {
  const auto made = run_process({MEGALITH_BINARY, "preprocess", "--input",
                                 write("far.jsonl", Json{{"text", "1 2 3 400 5"}}.dump() + "\n"),
                                 "--output-prefix", file("far"), "--tokenizer-type",
                                 "NullTokenizer", "--vocab-size", "500"});
  ASSERT_EQ(made.status, 0) << made.err;
  refused(evaluate("perplexity", "far_text_document", {}),
          {"document 0, token 3 is 400", "0 to 95"});
}

}  // namespace
}  // namespace megalith::testing

// megalith finetune and evaluate from outside: every task learns, its files are there and a saved
// model scores the same again; layouts, resume, seeds, ensembles; mistakes are refused.
//
// The numbers of the model are held to transformers in tests/models/bert_task_test.cpp, those of
// metrics and predictions in tests/tasks.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "tests/e2e/tiny_tasks.hpp"

namespace megalith::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

class Finetune : public TinyTasks {
 protected:
  /// The scores of `evaluate TASK --load FOLDER` on the dev data.
  static Json evaluated(const std::string& task, const std::string& folder, int64_t num_ranks = 1,
                        const Words& more = {}) {
    const std::string report = file(folder + "_report.json");
    Words flags{"--load", file(folder), "--report", report, "--data"};
    const Words data = data_of(task);
    flags.insert(flags.end(), std::find(data.begin(), data.end(), "--valid-data") + 1, data.end());
    const auto result = evaluate(num_ranks, task, flags + more);
    EXPECT_EQ(result.status, 0) << result.err << result.out;
    return json_file(folder + "_report.json");
  }

  /// The numbers of `expected` are those of `actual`, to the last digit.
  static void expect_same_scores(const Json& actual, const Json& expected) {
    for (const auto& [name, value] : expected.items()) {
      EXPECT_EQ(actual.at(name), value) << name;
    }
  }

  static std::vector<Json> lines_of(const std::string& name) {
    std::vector<Json> lines;
    std::ifstream in(file(name));
    for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
    return lines;
  }
};

TEST_F(Finetune, EveryTaskLearnsAndScoresTheSameAgain) {
  const std::pair<const char*, const char*> tasks[] = {{"mnli", "6"},
                                                       {"qqp", "6"},
                                                       {"classification", "8"},
                                                       {"multiple-choice", "12"},
                                                       {"race", "12"}};
  for (const auto& [task, epochs] : tasks) {
    SCOPED_TRACE(task);
    const std::string folder = std::string("run_") + task;
    const std::string out =
        tune(1, task, data_of(task, true) + Words{"--epochs", epochs, "--save", file(folder)});
    EXPECT_THAT(out, HasSubstr("validation at iteration"));
    const Json metrics = json_file(folder + "/metrics.json");
    EXPECT_EQ(metrics.at("task"), task);
    EXPECT_GT(metrics.at("dev").at("accuracy").get<double>(), 0.75) << out;
    EXPECT_EQ(json_file(folder + "/configuration.json").at("Fine-tuning").at("task"), task);
    expect_same_scores(evaluated(task, folder), metrics.at("dev"));
  }
  EXPECT_EQ(json_file("run_mnli/metrics.json").at("dev").at("total_mismatched"), 13);
  EXPECT_TRUE(json_file("run_qqp/metrics.json").at("dev").contains("f1"));
  EXPECT_TRUE(json_file("run_race/metrics.json").at("dev").contains("accuracy_middle"));
  EXPECT_THAT(bytes_of("run_mnli/test_submission_matched.tsv"),
              HasSubstr("index\tprediction\n400\t"));
  EXPECT_EQ(lines_of("run_mnli/test_predictions.jsonl").size(), 16u);
  EXPECT_EQ(lines_of("run_mnli/dev_predictions.jsonl").size(), 34u);
  EXPECT_THAT(bytes_of("run_qqp/test_submission.tsv"), HasSubstr("300\t"));
  EXPECT_EQ(json_file("run_classification/configuration.json").at("Fine-tuning").at("classes"),
            (Json{"bad", "good"}));
}

TEST_F(Finetune, SquadLearnsAndScoresTheSameAgain) {
  const std::string out =
      tune(1, "squad", data_of("squad") + Words{"--epochs", "6", "--save", file("squad1")});
  const Json metrics = json_file("squad1/metrics.json");
  EXPECT_GT(metrics.at("dev").at("f1").get<double>(), 70) << out;
  expect_same_scores(evaluated("squad", "squad1"), metrics.at("dev"));
  EXPECT_EQ(json_file("squad1/dev_predictions.json").size(), 20u);
  EXPECT_EQ(json_file("squad1/dev_nbest_predictions.json").size(), 20u);
  EXPECT_EQ(lines_of("squad1/dev_span_logits.jsonl").size(), 20u);
}

TEST_F(Finetune, SquadTwoUsesTheThresholdOfTheDevSetOnTheTestSet) {
  const Words data{"--train-data", file("squad/train2.json"),
                   "--valid-data", file("squad/dev2.json"),
                   "--test-data",  file("squad/test2.json")};
  // A window holds a part of the context alone.
  const std::string out = tune(1, "squad",
                               data + Words{"--epochs", "6", "--save", file("squad2"),
                                            "--seq-length", "16", "--doc-stride", "4"});
  const Json metrics = json_file("squad2/metrics.json");
  EXPECT_TRUE(metrics.at("dev").contains("HasAns_f1"));
  EXPECT_TRUE(metrics.at("dev").contains("threshold"));
  EXPECT_EQ(metrics.at("test").at("threshold"), metrics.at("dev").at("threshold"));
  EXPECT_EQ(json_file("squad2/test_predictions.json").size(), 8u);
  EXPECT_EQ(json_file("squad2/dev_null_odds.json").size(), 20u);
  EXPECT_GT(lines_of("squad2/dev_span_logits.jsonl").size(), 20u);
}

TEST_F(Finetune, LayoutsAgree) {
  const Words flags =
      data_of("mnli") +
      Words{"--epochs",       "2", "--hidden-dropout", "0", "--attention-dropout", "0",
            "--log-interval", "1"};
  tune(1, "mnli", flags + Words{"--save", file("one")});
  tune(2, "mnli", flags + Words{"--save", file("data2")});
  tune(2, "mnli", flags + Words{"--save", file("tensor2"), "--tensor-model-parallel-size", "2"});
  const auto one = metrics_of(file("one"));
  const auto expected = lines_of("one/dev_predictions.jsonl");
  for (const char* name : {"data2", "tensor2"}) {
    SCOPED_TRACE(name);
    const auto other = metrics_of(file(name));
    ASSERT_EQ(other.size(), one.size());
    for (size_t i = 0; i < one.size(); ++i) {
      if (!one[i].contains("loss")) continue;
      EXPECT_NEAR(other[i].at("loss").get<double>(), one[i].at("loss").get<double>(), 1e-4);
    }
    const auto lines = lines_of(std::string(name) + "/dev_predictions.jsonl");
    ASSERT_EQ(lines.size(), expected.size());
    for (size_t i = 0; i < lines.size(); ++i) {
      EXPECT_EQ(lines[i].at("id"), expected[i].at("id"));
      for (size_t c = 0; c < 3; ++c) {
        EXPECT_NEAR(lines[i].at("logits")[c].get<double>(),
                    expected[i].at("logits")[c].get<double>(), 1e-3);
      }
    }
    // Another layout scores a saved model; the predictions are the same but for rounding.
    EXPECT_NEAR(
        evaluated(
            "mnli", "one", 2,
            name == std::string("tensor2") ? Words{"--tensor-model-parallel-size", "2"} : Words{})
            .at("accuracy")
            .get<double>(),
        json_file("one/metrics.json").at("dev").at("accuracy").get<double>(), 0.06);
  }
}

TEST_F(Finetune, ResumesExactlyWithinAnEpochAndAcrossOne) {
  const Words flags = data_of("mnli") + Words{"--epochs", "2", "--log-interval", "1"};
  tune(1, "mnli", flags + Words{"--save", file("whole")});
  // 96 examples are 12 iterations an epoch: one stop within, one where the first epoch ends.
  const std::string stopped =
      tune(1, "mnli", flags + Words{"--save", file("parts"), "--exit-interval", "7"});
  EXPECT_THAT(stopped, HasSubstr("stopped at iteration 7"));
  EXPECT_FALSE(std::filesystem::exists(file("parts/metrics.json")));
  tune(1, "mnli",
       flags + Words{"--save", file("parts"), "--load", file("parts"), "--exit-interval", "12"});
  const std::string resumed =
      tune(1, "mnli", flags + Words{"--save", file("parts"), "--load", file("parts")});
  EXPECT_THAT(resumed, HasSubstr("resumed at iteration 12"));
  expect_identical(file("whole"), file("parts"));
  EXPECT_EQ(json_file("whole/metrics.json"), json_file("parts/metrics.json"));
}

TEST_F(Finetune, SeedsReportTheMedian) {
  const Words flags =
      data_of("mnli", true) + Words{"--epochs", "1",      "--seeds",     "3",           "--seed",
                                    "7",        "--save", file("seeds"), "--keep-last", "1"};
  const std::string out = tune(1, "mnli", flags);
  EXPECT_THAT(out, AllOf(HasSubstr("seed 7, run 1 of 3"), HasSubstr("seed 9, run 3 of 3"),
                         HasSubstr("median dev accuracy")));
  const Json summary = json_file("seeds/metrics.json");
  std::vector<double> scores;
  for (const auto& run : summary.at("runs")) {
    scores.push_back(run.at("score"));
    const auto name = fmt::format("seeds/seed-{}/metrics.json", run.at("seed").get<int>());
    EXPECT_EQ(json_file(name).at("dev").at("accuracy"), run.at("score"));
  }
  std::sort(scores.begin(), scores.end());
  EXPECT_EQ(summary.at("median").at("score"), scores.at(1));
  const auto median = fmt::format("seeds/seed-{}", summary.at("median").at("seed").get<int>());
  EXPECT_EQ(bytes_of("seeds/test_predictions.jsonl"), bytes_of(median + "/test_predictions.jsonl"));
  EXPECT_EQ(summary.at("dev"), json_file(median + "/metrics.json").at("dev"));
  // Runs that are complete are scored, not trained again.
  const std::string again = tune(1, "mnli",
                                 flags + Words{"--load", file("seeds")} +
                                     Words{"--pretrained-checkpoint", file("pretrained")});
  EXPECT_THAT(again, AllOf(HasSubstr("resumed at iteration 12"), Not(HasSubstr("iteration 1/"))));
  EXPECT_EQ(json_file("seeds/metrics.json"), summary);

  const std::string report = file("ensemble.json");
  const auto ensemble =
      evaluate(1, "mnli",
               {"--ensemble", file("seeds/seed-7"), file("seeds/seed-8"), file("seeds/seed-9"),
                "--report", report, "--predictions", file("ensemble")});
  ASSERT_EQ(ensemble.status, 0) << ensemble.err;
  EXPECT_THAT(ensemble.out, HasSubstr("models"));
  // The mean of probabilities, by hand for the first example.
  double mean = 0;
  for (const int seed : {7, 8, 9}) {
    const auto lines = lines_of(fmt::format("seeds/seed-{}/dev_predictions.jsonl", seed));
    mean += lines.front().at("probabilities")[0].get<double>() / 3;
  }
  EXPECT_NEAR(
      lines_of("ensemble/eval_predictions.jsonl").front().at("probabilities")[0].get<double>(),
      mean, 1e-9);
}

TEST_F(Finetune, EnsembleOfSpans) {
  for (const char* seed : {"1", "2"}) {
    tune(1, "squad",
         data_of("squad") +
             Words{"--epochs", "1", "--seed", seed, "--save", file(std::string("span") + seed)});
  }
  const auto ensemble = evaluate(1, "squad",
                                 {"--ensemble", file("span1"), file("span2"), "--data",
                                  file("squad/dev.json"), "--predictions", file("span_mean")});
  ASSERT_EQ(ensemble.status, 0) << ensemble.err;
  EXPECT_THAT(ensemble.out, AllOf(HasSubstr("exact_match"), HasSubstr("f1")));
  EXPECT_EQ(json_file("span_mean/eval_predictions.json").size(), 20u);
}

TEST_F(Finetune, SaysWhichHeadsAreNew) {
  const std::string out = tune(1, "mnli", data_of("mnli") + Words{"--epochs", "1"});
  EXPECT_THAT(out, HasSubstr("classification_head is not in it and starts from random weights"));
  EXPECT_THAT(out, HasSubstr("96 training examples"));
}

TEST_F(Finetune, RefusesMistakesAllAtOnce) {
  write("bad.tsv", "index\tsentence1\tsentence2\tgold_label\n1\ta1\ta2\tmaybe\n");
  const auto refused = [&](const std::string& task, const Words& flags, const Words& hints) {
    const auto result = finetune(1, task, flags);
    EXPECT_EQ(result.status, 2) << result.out << result.err;
    for (const auto& hint : hints) EXPECT_THAT(result.err, HasSubstr(hint)) << result.err;
  };
  refused(
      "mnli",
      {"--train-data", file("bad.tsv"), "--valid-data", file("nowhere.tsv"), "--fp16", "--bf16"},
      {"maybe", "nowhere.tsv", "--fp16"});
  refused("mnli", data_of("mnli") + Words{"--num-layers", "3", "--hidden-size", "64"},
          {"--num-layers: the checkpoint says 2, the flags say 3", "--hidden-size"});
  write("other_vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na1\n");
  refused("mnli",
          data_of("mnli") + Words{"--tokenizer-type", "BertWordPieceLowerCase", "--vocab-file",
                                  file("other_vocab.txt")},
          {"vocabulary", "48", "6"});
  refused("mnli", data_of("mnli") + Words{"--seq-length", "49"}, {"--seq-length 49"});
  refused("mnli", data_of("mnli") + Words{"--global-batch-size", "100"},
          {"--global-batch-size 100", "96"});
  refused("mnli", data_of("mnli") + Words{"--load", file("pretrained")},
          {"--pretrained-checkpoint"});
  refused("mnli", data_of("mnli") + Words{"--pretrained-checkpoint", file("nowhere")}, {"nowhere"});
  refused("mnli", data_of("mnli") + Words{"--train-iters", "3"}, {"--epochs"});
  refused("mnli", {}, {"--train-data", "--valid-data"});
  refused("mnli",
          {"--train-data", file("mnli/train.tsv"), "--valid-data", file("mnli/test_matched.tsv")},
          {"without a label"});
  refused("mnlj", {}, {"did you mean mnli"});
  refused("squad",
          {"--train-data", file("squad/train.json"), file("squad/train2.json"), "--valid-data",
           file("squad/dev.json")},
          {"--train-data takes one file"});
  refused("squad", data_of("squad") + Words{"--max-query-length", "40"}, {"32"});
}

TEST_F(Finetune, PlansWithoutRunning) {
  const std::string out =
      tune(1, "mnli", data_of("mnli") + Words{"--dry-run", "--save", file("never")});
  EXPECT_THAT(out, AllOf(HasSubstr("96 training examples"), HasSubstr("parameters"),
                         HasSubstr("expected memory of the fullest rank")));
  EXPECT_FALSE(std::filesystem::exists(file("never")));
}

TEST_F(Finetune, UnderstandsEveryRunFileOfThePaper) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(MEGALITH_SOURCE_DIR) / "configs/finetune")) {
    SCOPED_TRACE(entry.path());
    std::string task = entry.path().stem().string();
    task = task.substr(0, task.find('_'));
    if (task.starts_with("squad")) task = "squad";
    const auto result =
        run_process({MEGALITH_BINARY, "finetune", task, "--config", entry.path().string()}, {}, 60);
    EXPECT_EQ(result.status, 2);
    // What is in the file is right; what it leaves to the command line is missing.
    EXPECT_THAT(result.err,
                AllOf(HasSubstr("--train-data is missing"),
                      HasSubstr("--pretrained-checkpoint is missing"), Not(HasSubstr(".toml"))));
    ++count;
  }
  EXPECT_EQ(count, 15);
}

TEST_F(Finetune, RefusesAGptAndAnotherTask) {
  train(1, {"--train-iters", "2", "--eval-iters", "0", "--save", file("gpt")});
  const auto gpt =
      finetune(1, "mnli", data_of("mnli") + Words{"--pretrained-checkpoint", file("gpt")});
  EXPECT_EQ(gpt.status, 2);
  EXPECT_THAT(gpt.err, AllOf(HasSubstr("holds a gpt model"), HasSubstr("num-tokentypes is 0")));
  tune(1, "qqp", data_of("qqp") + Words{"--epochs", "1", "--save", file("a_qqp")});
  const auto other =
      evaluate(1, "mnli", {"--load", file("a_qqp"), "--data", file("mnli/train.tsv")});
  EXPECT_EQ(other.status, 2);
  EXPECT_THAT(other.err, HasSubstr("was fine-tuned for qqp"));
  const auto pretrained = evaluate(1, "mnli", {"--load", file("pretrained"), "--data", "x"});
  EXPECT_EQ(pretrained.status, 2);
  EXPECT_THAT(pretrained.err, HasSubstr("holds no fine-tuned model"));
}

}  // namespace
}  // namespace megalith::testing

// Going on from a checkpoint: bit for bit as if nothing had happened, at other layouts and
// precisions, with what flags and checkpoint say differently told once, and what does not fit
// refused at once.
#include <gmock/gmock.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>

#include "tests/e2e/tiny_run.hpp"

namespace megalith::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

struct ExactCase {
  const char* name;
  int64_t num_ranks;
  const char* stop;  // after so many iterations
  Words flags;
};

void PrintTo(const ExactCase& exact, std::ostream* out) { *out << exact.name; }

class ExactResume : public TinyRun, public ::testing::WithParamInterface<ExactCase> {};

// Dropout is on (0.1, the default) in all of them.
TEST_P(ExactResume, IsNoInterruption) {
  const auto& [name, num_ranks, stop, given] = GetParam();
  Words flags = given;
  for (auto& word : flags) {
    if (word == "THREES") word = file("threes_text_document");
    if (word == "FIVES") word = file("fives_text_document");
  }
  const std::string whole = file(fmt::format("{}_whole", name));
  const std::string parts = file(fmt::format("{}_parts", name));
  train(num_ranks, flags + Words{"--save", whole});
  const Words restarted = flags + Words{"--save", parts, "--load", parts, "--load-if-exists"};
  EXPECT_THAT(
      train(num_ranks, restarted + Words{"--exit-interval", stop}),
      AllOf(HasSubstr("starting anew"), HasSubstr("stopped at iteration " + std::string(stop))));
  EXPECT_THAT(train(num_ranks, restarted),
              AllOf(HasSubstr("resumed at iteration " + std::string(stop)),
                    Not(HasSubstr("settings that differ"))));
  expect_identical(whole, parts);
}

const Words kTwoTensorRanks{"--tensor-model-parallel-size", "2"};

INSTANTIATE_TEST_SUITE_P(
    , ExactResume,
    ::testing::Values(
        ExactCase{"fp32", 2, "6", kTwoTensorRanks},
        ExactCase{"bf16", 2, "6", kTwoTensorRanks + Words{"--bf16"}},
        // Overflows at first, then growth every second step: the scaler moves before and after.
        ExactCase{"fp16", 2, "6",
                  kTwoTensorRanks + Words{"--fp16", "--initial-loss-scale", "16777216",
                                          "--loss-scale-window", "2", "--hysteresis", "1"}},
        ExactCase{"data_ranks", 2, "5", {"--lr-decay-style", "cosine", "--min-lr", "0.001"}},
        ExactCase{"ramp",
                  1,
                  "5",
                  {"--train-samples", "60", "--global-batch-size", "8", "--rampup-batch-size", "2",
                   "2", "30", "--lr-decay-style", "WSD", "--lr-wsd-decay-samples", "20",
                   "--lr-warmup-samples", "9"}},
        ExactCase{"blend",
                  1,
                  "7",
                  {"--data-path", "0.3", "THREES", "0.7", "FIVES", "--end-weight-decay", "0.1",
                   "--start-weight-decay", "0.01", "--weight-decay-incr-style", "cosine"}},
        // 12 iterations of 16 samples are more than an epoch.
        ExactCase{
            "cyclic",
            1,
            "9",
            {"--dataloader-type", "cyclic", "--global-batch-size", "16", "--optimizer", "sgd"}}),
    [](const auto& test) { return test.param.name; });

class Resume : public TinyRun {};

TEST_F(Resume, AfterSigtermIsNoInterruption) {
  const std::string whole = file("term_whole"), parts = file("term_parts");
  const Words flags = kTwoTensorRanks + Words{"--train-iters", "60", "--eval-interval", "20"};
  train(2, flags + Words{"--save", whole});
  Process process(command(2, flags + Words{"--save", parts}));
  ASSERT_TRUE(process.wait_for_output("iteration        7/", 60));
  process.send(SIGTERM);
  const auto stopped = process.wait(60);
  EXPECT_THAT(stopped.out, HasSubstr("stopped at iteration"));
  train(2, flags + Words{"--save", parts, "--load", parts});
  expect_identical(whole, parts);
}

TEST_F(Resume, WithNothingLeftToDoChangesNothing) {
  const std::string save = file("done");
  train(1, {"--save", save});
  const auto before = metrics_of(save);
  const auto time = std::filesystem::last_write_time(save + "/iter_0000012/manifest.json");
  train(1, {"--save", save, "--load", save});
  EXPECT_EQ(metrics_of(save), before);
  EXPECT_EQ(std::filesystem::last_write_time(save + "/iter_0000012/manifest.json"), time);
}

TEST_F(Resume, GoesOnAtAnotherLayout) {
  const Words flags{"--hidden-dropout", "0", "--attention-dropout", "0", "--train-iters", "20"};
  const std::string whole = file("layout_whole");
  train(1, flags + Words{"--save", whole});
  std::map<std::pair<int64_t, std::string>, double> expected;
  const auto losses = [](const nlohmann::json& line, auto&& body) {
    for (const char* key : {"lm_loss", "validation_loss", "test_loss"}) {
      if (line.contains(key))
        body(std::pair{line.at("iteration").get<int64_t>(), std::string(key)},
             line.at(key).get<double>());
    }
  };
  for (const auto& line : metrics_of(whole)) {
    losses(line, [&](const auto& key, double loss) { expected[key] = loss; });
  }
  const Words one{}, two = kTwoTensorRanks;
  for (const auto& [name, ranks_before, before, ranks_after, after] :
       {std::tuple{"tensor_up", 1, one, 2, two},
        {"tensor_down", 2, two, 1, one},
        {"tensor_to_data", 2, two, 2, one},
        {"data_to_both", 2, one, 4, two}}) {
    const std::string parts = file(fmt::format("layout_{}", name));
    train(ranks_before, flags + before + Words{"--save", parts, "--exit-interval", "10"});
    const std::string out =
        train(ranks_after, flags + after + Words{"--save", parts, "--load", parts});
    EXPECT_THAT(out, AllOf(HasSubstr("settings that differ"), Not(HasSubstr("other masks"))));
    size_t num_compared = 0;
    for (const auto& line : metrics_of(parts)) {
      losses(line, [&](const auto& key, double loss) {
        // fp32 sums in another order over steps that Adam amplifies.
        EXPECT_NEAR(loss, expected.at(key), 1e-4 * loss) << name << key.first << key.second;
        ++num_compared;
      });
    }
    EXPECT_EQ(num_compared, expected.size()) << name;
  }
}

TEST_F(Resume, TellsOnceWhatDiffers) {
  const std::string save = file("differs");
  train(1, {"--save", save, "--exit-interval", "2"});
  const auto out = train(2, {"--load", save, "--lr", "0.02", "--weight-decay", "0.1", "--seed", "7",
                             "--global-batch-size", "8", "--train-iters", "6", "--hidden-dropout",
                             "0.2", "--init-method-std", "0.01"});
  EXPECT_THAT(out, ContainsRegex("setting +checkpoint says +flags say +used\n"));
  EXPECT_THAT(out, ContainsRegex("--lr +0.01 +0.02 +flags\n"));
  EXPECT_THAT(out, ContainsRegex("--weight-decay +0.01 +0.1 +flags\n"));
  EXPECT_THAT(out, ContainsRegex("--seed +1234 +7 +flags\n"));
  EXPECT_THAT(out, ContainsRegex("--global-batch-size +4 +8 +flags\n"));
  EXPECT_THAT(out, ContainsRegex("--train-iters +12 +6 +flags\n"));
  EXPECT_THAT(out, ContainsRegex("--hidden-dropout +0.1 +0.2 +flags\n"));
  EXPECT_THAT(out, ContainsRegex("--init-method-std +0.02 +0.01 +checkpoint"));
  EXPECT_THAT(out, ContainsRegex("data ranks +1 +2 +flags\n"));
  EXPECT_THAT(out, HasSubstr("dropout continues on other masks"));
  EXPECT_EQ(out.find("checkpoint says"), out.rfind("checkpoint says")) << "told twice";
}

TEST_F(Resume, ListsAllThatDoesNotFitAtOnce) {
  const std::string save = file("misfit");
  train(1, {"--save", save, "--train-iters", "1", "--no-save-optim"});
  for (const Words& more : {Words{}, Words{"--dry-run"}}) {
    const auto result = pretrain(1, Words{"--load", save, "--hidden-size", "64", "--num-layers",
                                          "3", "--vocab-size", "95", "--swiglu"} +
                                        more);
    EXPECT_EQ(result.status, 2) << result.out;
    EXPECT_THAT(result.err,
                AllOf(HasSubstr("iter_0000001: does not fit this run, nothing was loaded"),
                      HasSubstr("--hidden-size: the checkpoint says 32, the flags say 64"),
                      HasSubstr("--num-layers: the checkpoint says 2, the flags say 3"),
                      HasSubstr("--swiglu: the checkpoint says false, the flags say true"),
                      ContainsRegex("vocabulary: the checkpoint says [0-9]+, the flags say"),
                      HasSubstr("--no-load-optim")));
  }
  // What follows from other flags is no contradiction when it is given.
  train(1, {"--load", save, "--no-load-optim", "--ffn-hidden-size", "128", "--kv-channels", "8"});
  EXPECT_EQ(pretrain(1, {"--load", save, "--ffn-hidden-size", "96", "--no-load-optim"}).status, 2);
}

TEST_F(Resume, OptimizerStateIsLeftOutWhenAsked) {
  const std::string save = file("light"), full = file("full");
  train(1, {"--save", save, "--exit-interval", "4", "--no-save-optim"});
  auto result = pretrain(1, {"--load", save});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("--no-save-optim"), HasSubstr("--no-load-optim"),
                                HasSubstr("--finetune")));
  EXPECT_THAT(train(1, {"--load", save, "--no-load-optim"}), HasSubstr("resumed at iteration 4"));
  const auto out = train(1, {"--load", save, "--finetune", "--save", full, "--train-iters", "3"});
  EXPECT_THAT(out, HasSubstr("starting from the weights of"));
  EXPECT_EQ(checkpoints_in(full), Words{"iter_0000003"});

  result = pretrain(1, {"--load", full, "--optimizer", "sgd"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("--optimizer: the checkpoint says adam, the flags say sgd"));
}

TEST_F(Resume, GoesOnInAnotherPrecision) {
  const std::string fp32 = file("to_bf16"), bf16 = file("to_fp32");
  train(1, {"--save", fp32, "--exit-interval", "6"});
  const auto out = train(1, {"--load", fp32, "--save", bf16, "--bf16", "--exit-interval", "9"});
  EXPECT_THAT(out, ContainsRegex("--bf16 +false +true +flags"));
  train(1, {"--load", bf16, "--save", bf16, "--fp16"});
  const auto last = metrics_of(bf16);
  EXPECT_LT(last.back().at("test_loss"), 4.2) << "from 4.5: the weights did not come over";

  // Back in fp32 the main parameters are the weights, not their rounding to bf16.
  const std::string exact = file("exact");
  train(1, {"--load", bf16, "--ckpt-step", "9", "--save", exact, "--train-iters", "9"});
  const auto diff = checkpoint({"diff", exact, bf16 + "/iter_0000009"});
  EXPECT_THAT(diff, ContainsRegex("optimizer.main.*only in B"));
  EXPECT_THAT(diff, Not(ContainsRegex("optimizer.exp_avg")));
}

TEST_F(Resume, TakesTheShapeFromTheCheckpoint) {
  const std::string save = file("shape");
  train(1, {"--save", save, "--exit-interval", "2", "--ffn-hidden-size", "96", "--openai-gelu"});
  const Words flags{"--load", save, "--use-checkpoint-args"};
  const auto plan = pretrain(1, flags + Words{"--dry-run"});
  EXPECT_EQ(plan.status, 0) << plan.err;
  const auto out = train(2, flags + kTwoTensorRanks);
  EXPECT_THAT(out, AllOf(HasSubstr("ffn-hidden-size 96"), HasSubstr("openai-gelu"),
                         HasSubstr("seq-length 16"), HasSubstr("NullTokenizer"),
                         HasSubstr("resumed at iteration 2")));
  for (const Words& more : {Words{}, Words{"--dry-run"}}) {
    const auto result =
        pretrain(1, flags + Words{"--hidden-size", "64", "--encoder-num-layers", "3"} + more);
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.err,
                AllOf(HasSubstr("--hidden-size: the checkpoint says 32, the flags say 64"),
                      HasSubstr("--num-layers: the checkpoint says 2, the flags say 3")));
  }
  const auto result = pretrain(1, {"--use-checkpoint-args"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("--use-checkpoint-args without --load"));
}

TEST_F(Resume, KeepsTheCheckpointsItIsTold) {
  const std::string last = file("last"), retain = file("retain"), both = file("both");
  train(1, {"--save", last, "--save-interval", "2", "--keep-last", "2"});
  EXPECT_EQ(checkpoints_in(last), (Words{"iter_0000010", "iter_0000012"}));
  const Words every{"--save-interval", "2", "--save-retain-interval", "4", "--train-iters", "11"};
  train(1, every + Words{"--save", retain});
  EXPECT_EQ(checkpoints_in(retain), (Words{"iter_0000004", "iter_0000008", "iter_0000011"}));
  train(1, every + Words{"--save", both, "--keep-last", "3"});
  EXPECT_EQ(checkpoints_in(both),
            (Words{"iter_0000004", "iter_0000008", "iter_0000010", "iter_0000011"}));
  for (const auto& folder : {last, retain, both}) checkpoint({"inspect", folder, "--verify"});

  // Taken up again further back: what lies ahead is another branch, and is left alone.
  const auto out = train(1, {"--save", both, "--load", both, "--ckpt-step", "4", "--keep-last", "1",
                             "--save-interval", "1", "--train-iters", "6"});
  EXPECT_EQ(checkpoints_in(both),
            (Words{"iter_0000006", "iter_0000008", "iter_0000010", "iter_0000011"}));
  EXPECT_THAT(checkpoint({"list", both}), ContainsRegex("6 .*\\(latest\\)"));

  const auto result =
      pretrain(1, {"--keep-last", "2", "--save-interval", "3", "--save-retain-interval", "4"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("--keep-last without --save"),
                                HasSubstr("--save-retain-interval 4 is no multiple")));
}

TEST_F(Resume, StartsAnewOnlyWhereThereNeverWasACheckpoint) {
  const Words brief{"--train-iters", "1", "--eval-iters", "0"};
  const auto start = [&](const std::string& folder, const Words& more = {"--load-if-exists"}) {
    return pretrain(1, brief + Words{"--load", folder} + more);
  };
  EXPECT_EQ(start(file("nowhere")).status, 0);
  EXPECT_EQ(start(file("nowhere"), {}).status, 2);
  EXPECT_EQ(start(file("nowhere"), {"--load-if-exists", "--ckpt-step", "3"}).status, 2);

  const std::string save = file("restarts");
  std::filesystem::create_directories(save + "/iter_0000005.tmp-0123456789abcdef");
  const auto out = train(1, brief + Words{"--save", save, "--load", save, "--load-if-exists"});
  EXPECT_THAT(out, AllOf(HasSubstr("iter_0000005.tmp-0123456789abcdef was not finished"),
                         HasSubstr("starting anew")));
  EXPECT_EQ(checkpoints_in(save), Words{"iter_0000001"});

  // Killed before the first checkpoint was marked as the latest: it is complete, and is loaded.
  std::filesystem::remove(save + "/latest_checkpointed_iteration.txt");
  EXPECT_THAT(start(save).out, HasSubstr("resumed at iteration 1"));
  EXPECT_THAT(start(save + "/iter_0000001").out, HasSubstr("resumed at iteration 1"));
  std::filesystem::remove(save + "/iter_0000001/manifest.json");
  EXPECT_EQ(start(save).status, 2);
  EXPECT_EQ(start(save + "/iter_0000001").status, 2);
  std::ofstream(save + "/latest_checkpointed_iteration.txt") << "1";
  EXPECT_EQ(start(save).status, 2);
  std::ofstream(save + "/latest_checkpointed_iteration.txt") << "";
  EXPECT_EQ(start(save).status, 2);
}

}  // namespace
}  // namespace megalith::testing

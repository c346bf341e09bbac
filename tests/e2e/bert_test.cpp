// megalith pretrain bert from outside: real processes on a few documents; the same losses for every
// layout, exact resume, another layout at load, recompute, both losses in the log.
//
// Samples and masks are tests/data's; the model's numbers tests/models/bert_golden_test.cpp's.
#include <gmock/gmock.h>

#include <fstream>

#include "tests/e2e/tiny_run.hpp"

namespace megalith::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kWords = 40;
constexpr double kBertPatience = 120;  // seconds

class Bert : public TinyRun {
 protected:
  static void SetUpTestSuite() {
    TinyRun::SetUpTestSuite();
    std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n.\n";
    for (int i = 0; i < kWords; ++i) vocabulary += fmt::format("a{}\n", i);
    write("vocab.txt", vocabulary);
    std::string text;
    for (int document = 0; document < 60; ++document) {
      std::string sentences;
      for (int i = 0; i < 48; ++i) {
        const bool is_first = i % 6 == 0, is_last = i % 6 == 5;
        // Most words are one of three: something to be learned in a few steps.
        const int number = (document * 7 + i * 3) % kWords;
        sentences += fmt::format("{}{}{}", is_first ? "A" : "a",
                                 number % 4 == 0 ? number : number % 3, is_last ? ". " : " ");
      }
      text += nlohmann::json{{"text", sentences}}.dump() + "\n";
    }
    write("sentences.jsonl", text);
    const auto made =
        run_process({MEGALITH_BINARY, "preprocess", "--input", file("sentences.jsonl"),
                     "--output-prefix", file("sentences"), "--split-sentences", "--tokenizer-type",
                     "BertWordPieceLowerCase", "--vocab-file", file("vocab.txt")});
    ASSERT_EQ(made.status, 0) << made.err;
    write("bert.toml", fmt::format(R"(
num-layers = 2
hidden-size = 32
num-attention-heads = 4
seq-length = 32
micro-batch-size = 2
global-batch-size = 8
train-iters = 12
lr = 0.005
eval-interval = 6
eval-iters = 2
log-interval = 1
split = "80,10,10"
tokenizer-type = "BertWordPieceLowerCase"
vocab-file = "{}"
make-vocab-size-divisible-by = 8
data-path = ["{}"]
num-threads = 1
)",
                                   file("vocab.txt"), file("sentences_text_sentence")));
  }

  static void write(const std::string& name, const std::string& bytes) {
    std::ofstream(file(name)) << bytes;
  }

  static ProcessResult run(int64_t num_ranks, const Words& flags, const char* family = "bert") {
    Words words{MEGALITH_BINARY};
    if (num_ranks > 1) {
      words = words + Words{"launch", "--nproc-per-node", std::to_string(num_ranks)};
    }
    words = words + Words{"pretrain", family, "--config", file("bert.toml")} + flags;
    return run_process(words, {}, kBertPatience);
  }
  static std::string train_bert(int64_t num_ranks, const Words& flags) {
    const auto result = run(num_ranks, flags);
    EXPECT_EQ(result.status, 0) << result.err << result.out;
    return result.out;
  }
  /// Names and values of all losses in a folder's metrics, in order.
  static std::vector<std::pair<std::string, double>> losses_in(const std::string& folder) {
    std::vector<std::pair<std::string, double>> losses;
    for (const auto& line : metrics_of(folder)) {
      for (const auto& [key, value] : line.items()) {
        if (!key.ends_with("_loss")) continue;
        losses.emplace_back(fmt::format("{} at {}", key, line.at("iteration").get<int64_t>()),
                            value.get<double>());
      }
    }
    return losses;
  }
  static void expect_near(const std::string& folder, const std::string& expected_folder) {
    const auto losses = losses_in(folder), expected = losses_in(expected_folder);
    ASSERT_EQ(losses.size(), expected.size());
    for (size_t i = 0; i < losses.size(); ++i) {
      EXPECT_EQ(losses[i].first, expected[i].first);
      // fp32 sums in another order over steps that Adam amplifies.
      EXPECT_NEAR(losses[i].second, expected[i].second, 2e-4 * expected[i].second)
          << losses[i].first << " of " << folder;
    }
  }
};

const Words kTensor2{"--tensor-model-parallel-size", "2"};
const Words kNoDropout{"--hidden-dropout", "0", "--attention-dropout", "0"};

TEST_F(Bert, HasTheSameLossesForEveryLayout) {
  const std::string one = file("one");
  train_bert(1, kNoDropout + Words{"--save", one});
  // Two parts in each iteration, validation and test.
  const auto losses = losses_in(one);
  ASSERT_EQ(losses.size(), 2 * (12 + 2 + 1));
  EXPECT_EQ(losses[0].first, "lm_loss at 1");
  EXPECT_EQ(losses[26].first, "validation_loss at 12");
  EXPECT_LT(losses[26].second, losses[0].second - 0.5) << "the model did not learn";
  for (const auto& [name, ranks, flags] :
       {std::tuple{"tensor", 2, kTensor2}, {"data", 2, Words{}}, {"both", 4, kTensor2}}) {
    train_bert(ranks, kNoDropout + flags + Words{"--save", file(name)});
    expect_near(file(name), one);
  }
}

struct BertCase {
  const char* name;
  int64_t num_ranks;
  Words flags;
};

void PrintTo(const BertCase& one, std::ostream* out) { *out << one.name; }

class BertResume : public Bert, public ::testing::WithParamInterface<BertCase> {};

// Dropout is on (0.1, the default) in all of them.
TEST_P(BertResume, IsNoInterruption) {
  const auto& [name, num_ranks, flags] = GetParam();
  const std::string whole = file(fmt::format("{}_whole", name));
  const std::string parts = file(fmt::format("{}_parts", name));
  train_bert(num_ranks, flags + Words{"--save", whole});
  const Words restarted = flags + Words{"--save", parts, "--load", parts, "--load-if-exists"};
  train_bert(num_ranks, restarted + Words{"--exit-interval", "5"});
  EXPECT_THAT(train_bert(num_ranks, restarted),
              AllOf(HasSubstr("resumed at iteration 5"), Not(HasSubstr("settings that differ"))));
  expect_identical(whole, parts);
}

INSTANTIATE_TEST_SUITE_P(
    , BertResume,
    ::testing::Values(BertCase{"fp32", 2, kTensor2},
                      BertCase{"bf16", 2, kTensor2 + Words{"--bf16"}},
                      BertCase{"fp16", 2,
                               kTensor2 + Words{"--fp16", "--initial-loss-scale", "16777216",
                                                "--loss-scale-window", "2", "--hysteresis", "1"}},
                      BertCase{"original_order", 2, {"--apply-residual-connection-post-layernorm"}},
                      BertCase{"no_binary_head", 1, {"--bert-no-binary-head"}}),
    [](const auto& test) { return test.param.name; });

TEST_F(Bert, GoesOnAtAnotherLayout) {
  const std::string whole = file("layout_whole");
  train_bert(1, kNoDropout + Words{"--save", whole});
  for (const auto& [name, ranks_before, before, ranks_after, after] :
       {std::tuple{"tensor_up", 1, Words{}, 2, kTensor2},
        {"tensor_to_data", 2, kTensor2, 2, Words{}}}) {
    const std::string parts = file(fmt::format("layout_{}", name));
    train_bert(ranks_before, kNoDropout + before + Words{"--save", parts, "--exit-interval", "6"});
    train_bert(ranks_after, kNoDropout + after + Words{"--save", parts, "--load", parts});
    expect_near(parts, whole);
  }
}

TEST_F(Bert, RecomputeGivesTheSameBits) {
  const std::string kept = file("kept");
  train_bert(2, kTensor2 + Words{"--save", kept});
  for (const auto& [name, flags] : {std::pair{"full", Words{"--recompute-granularity", "full"}},
                                    {"selective", Words{"--recompute-activations"}}}) {
    train_bert(2, kTensor2 + flags + Words{"--save", file(name)});
    expect_identical(kept, file(name));
  }
}

TEST_F(Bert, LogsBothLossesAndThePerplexityOfMaskedTokens) {
  const std::string out = train_bert(1, {"--train-iters", "2"});
  EXPECT_THAT(out, AllOf(::testing::ContainsRegex("lm loss: [0-9.E+-]+ \\| sop loss: [0-9.E+-]+ "
                                                  "\\| loss scale"),
                         ::testing::ContainsRegex("validation loss at iteration 2 \\| lm loss "
                                                  "value: [0-9.E+-]+ \\| lm loss PPL: [0-9.E+-]+ "
                                                  "\\| sop loss value: [0-9.E+-]+ \\| sop loss "
                                                  "PPL: [0-9.E+-]+ \\|")));
  EXPECT_THAT(train_bert(1, {"--train-iters", "2", "--bert-no-binary-head"}),
              AllOf(HasSubstr("lm loss: "), Not(HasSubstr("sop loss"))));
}

TEST_F(Bert, KnowsItsCheckpointsFromThoseOfOthers) {
  const std::string save = file("own");
  train_bert(1, {"--train-iters", "1", "--save", save});
  auto result = run(1, {"--load", save}, "gpt");
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("holds a model of megalith pretrain bert"));
  result = run(1, {"--load", save, "--bert-no-binary-head"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("--bert-no-binary-head: the checkpoint's model has a"));
  result = run_process({MEGALITH_BINARY, "generate", "--load", save, "--prompt", "a1"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("holds a bert model"));
  result = run_process(
      {MEGALITH_BINARY, "checkpoint", "export-hf", "--load", save, "--save", file("exported")});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("transformers has no BERT class"));
  // Without the head by the checkpoint's word.
  const std::string headless = file("headless");
  train_bert(1, {"--train-iters", "1", "--save", headless, "--bert-no-binary-head"});
  EXPECT_THAT(train_bert(1, {"--train-iters", "2", "--load", headless, "--use-checkpoint-args"}),
              AllOf(HasSubstr("resumed at iteration 1"), Not(HasSubstr("sop loss"))));
}

/// Models that transformers made: an encoder with a pooler, and one with three token types.
TEST_F(Bert, GoesOnFromAnImportWithOtherHeadsAndComesBackOut) {
  const std::string golden = std::string(MEGALITH_SOURCE_DIR) + "/tests/golden/hugging_face_bert/";
  const std::string imported = file("imported"), types = file("imported_types");
  checkpoint({"import-hf", golden + "model", "--save", imported, "--no-loss"});
  checkpoint({"import-hf", golden + "pretraining", "--save", types, "--no-loss"});
  write("further.toml", fmt::format(R"(
seq-length = 12
micro-batch-size = 2
global-batch-size = 8
train-iters = 3
lr = 0.005
eval-iters = 1
log-interval = 1
split = "80,10,10"
tokenizer-type = "BertWordPieceLowerCase"
vocab-file = "{}"
make-vocab-size-divisible-by = 8
hidden-dropout = 0
attention-dropout = 0
data-path = ["{}"]
num-threads = 1
)",
                                    file("vocab.txt"), file("sentences_text_sentence")));
  const auto further = [&](int64_t ranks, const std::string& load, const Words& flags) {
    Words words{MEGALITH_BINARY};
    if (ranks > 1) words = words + Words{"launch", "--nproc-per-node", std::to_string(ranks)};
    return run_process(words +
                           Words{"pretrain", "bert", "--config", file("further.toml"), "--load",
                                 load, "--use-checkpoint-args"} +
                           flags,
                       {}, kBertPatience);
  };
  // Without a sentence order head, as the import.
  const auto one = further(1, imported, {"--finetune", "--save", file("further_1")});
  ASSERT_EQ(one.status, 0) << one.err;
  EXPECT_THAT(one.out, AllOf(HasSubstr("lm_head is not in it and starts from random weights"),
                             HasSubstr("its pooler is not used"), Not(HasSubstr("sop loss"))));
  const auto two =
      further(2, imported, kTensor2 + Words{"--finetune", "--save", file("further_2")});
  ASSERT_EQ(two.status, 0) << two.err;
  expect_near(file("further_2"), file("further_1"));
  const auto resumed = further(1, imported, {});
  EXPECT_EQ(resumed.status, 2);
  EXPECT_THAT(resumed.err, HasSubstr("--finetune"));
  EXPECT_THAT(checkpoint({"export-hf", "--load", file("further_2"), "--save", file("masked_lm")}),
              HasSubstr("BertForMaskedLM"));

  const auto whole = further(2, types, kTensor2 + Words{"--finetune", "--save", file("further_3")});
  ASSERT_EQ(whole.status, 0) << whole.err;
  EXPECT_THAT(whole.out, AllOf(HasSubstr("sop loss"), Not(HasSubstr("random weights"))));
  EXPECT_THAT(checkpoint({"export-hf", "--load", file("further_3"), "--save", file("both_heads")}),
              HasSubstr("BertForPreTraining"));
}

TEST_F(Bert, RefusesWhatHasNoMeaningForIt) {
  const auto result = run(
      1, {"--untie-embeddings-and-output-weights", "--mask-prob", "2", "--short-seq-prob", "-1"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("BERT's logits are tied"), HasSubstr("--mask-prob 2"),
                                HasSubstr("--short-seq-prob -1")));
  EXPECT_THAT(run(1, {"--mask-prob", "0.3", "--train-iters", "1"}, "gpt").err,
              HasSubstr("--mask-prob has no effect with pretrain gpt"));
}

}  // namespace
}  // namespace megalith::testing

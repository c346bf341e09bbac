// megalith checkpoint convert from outside: a run goes on from its own checkpoint in other files as
// if nothing had happened, and upstream's weights train and generate.
#include <gmock/gmock.h>

#include <filesystem>

#include "support/golden.hpp"
#include "tests/e2e/tiny_run.hpp"

namespace megalith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Convert : public TinyRun {
 protected:
  static ProcessResult convert(const Words& flags) {
    return run_process(Words{MEGALITH_BINARY, "checkpoint", "convert"} + flags, {}, 120);
  }
  static std::string golden(const std::string& layout) {
    return golden_path("upstream-checkpoints/" + layout).string();
  }
};

TEST_F(Convert, ARunGoesOnFromOtherFilesAsIfNothingHadHappened) {
  train(2, {"--tensor-model-parallel-size", "2", "--save", file("a"), "--save-interval", "6"});
  checkpoint({"convert", "--load", file("a"), "--ckpt-step", "6", "--save", file("b"),
              "--num-files", "3"});
  checkpoint({"inspect", file("b"), "--verify"});
  const auto same = checkpoint({"diff", file("a/iter_0000006"), file("b/iter_0000006")});
  EXPECT_THAT(same, AllOf(HasSubstr("Configuration: the same"), HasSubstr(" bit-identical")));
  const auto names = names_in(file("b/iter_0000006"));
  EXPECT_EQ(names.size(), 7U) << "a manifest, 3 files of weights, 3 of the optimizer";
  train(2, {"--tensor-model-parallel-size", "2", "--load", file("b"), "--save", file("c")});
  const auto end = checkpoint({"diff", file("a"), file("c")});
  EXPECT_EQ(end.find("differ"), std::string::npos) << end;
}

TEST_F(Convert, AnotherTypeTakesTheExactWeightsAndLeavesTheOptimizerOut) {
  train(1, {"--bf16", "--save", file("half")});
  checkpoint({"convert", "--load", file("half"), "--save", file("same"), "--dtype", "bf16"});
  const auto same = checkpoint({"diff", file("half"), file("same")});
  EXPECT_EQ(same.find("differ"), std::string::npos) << same;
  const auto text =
      checkpoint({"convert", "--load", file("half"), "--save", file("single"), "--dtype", "fp32"});
  EXPECT_THAT(text, AllOf(HasSubstr("tensors of the optimizer's state are left out"),
                          HasSubstr("taken from the main parameters")));
  const auto refused =
      pretrain(1, {"--load", file("single"), "--save", file("single-on"), "--train-iters", "14"});
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("--no-load-optim"));
  EXPECT_THAT(train(1, {"--load", file("single"), "--no-load-optim", "--train-iters", "14"}),
              HasSubstr("resumed at iteration 12"));
}

const Words kGoldenShape{"--hidden-size", "8", "--openai-gelu"};

TEST_F(Convert, UpstreamsWeightsTrainAndGenerate) {
  checkpoint({"convert", "--load", golden("v1-stream"), "--save", file("theirs")});
  EXPECT_THAT(train(1, kGoldenShape + Words{"--load", file("theirs"), "--finetune"}),
              HasSubstr("starting from the weights of"));
  EXPECT_THAT(train(2, kGoldenShape + Words{"--tensor-model-parallel-size", "2", "--load",
                                            file("theirs"), "--no-load-optim"}),
              HasSubstr("resumed at iteration 7 (84 samples consumed)"));
  const auto refused = pretrain(1, kGoldenShape + Words{"--load", file("theirs")});
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("holds no optimizer state"));
  const auto said = run_process({MEGALITH_BINARY, "generate", "--load", file("theirs"),
                                 "--tokenizer-type", "NullTokenizer", "--vocab-size", "90",
                                 "--prompt", "1 2 3", "--greedy", "--max-new-tokens", "4"});
  EXPECT_EQ(said.status, 0) << said.err;
}

TEST_F(Convert, MistakesAreListedAndNothingIsLeft) {
  auto result = convert({"--num-files", "0"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("--load is missing"), HasSubstr("--save is missing"),
                                HasSubstr("--num-files")));
  result = convert({"--load", file("nowhere"), "--save", file("out")});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("does not exist"));
  fs::copy(golden("v1-stream"), file("cut"), fs::copy_options::recursive);
  fs::resize_file(file("cut/iter_0000007/mp_rank_01/model_optim_rng.pt"), 9000);
  result = convert({"--load", file("cut"), "--save", file("out")});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("mp_rank_01/model_optim_rng.pt: truncated"));
  EXPECT_FALSE(fs::exists(file("out")));
}

/// Damage in a source is found though its bytes get new files.
TEST_F(Convert, DamageIsNotCopied) {
  checkpoint({"convert", "--load", golden("core-llama"), "--save", file("good")});
  const auto path = file("good/iter_0000007/model_00000.safetensors");
  FILE* stored = std::fopen(path.c_str(), "r+b");
  std::fseek(stored, -5, SEEK_END);
  std::fputc(77, stored);
  std::fclose(stored);
  const auto result = convert({"--load", file("good"), "--save", file("again")});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("damaged: the checksum of"));
  EXPECT_FALSE(fs::exists(file("again")));
  EXPECT_EQ(convert({"--load", file("good"), "--save", file("half"), "--dtype", "bf16"}).status, 2);
}

}  // namespace
}  // namespace megalith::testing

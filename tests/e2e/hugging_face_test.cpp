// megalith checkpoint import-hf and export-hf from outside: what transformers made is imported,
// generates and trains on any tensor size, and is a model of transformers again.
//
// Models and numbers: tests/oracles/hugging_face_reference.py. What needs Python is skipped where
// .venv has no transformers.
#include <gmock/gmock.h>

#include <fstream>
#include <regex>

#include "e2e/imported_models.hpp"

namespace megalith::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

const std::string kGolden = std::string(MEGALITH_SOURCE_DIR) + "/tests/golden/hugging_face/";

class HuggingFaceRun : public ImportedModels {
 protected:
  static void SetUpTestSuite() {
    TinyRun::SetUpTestSuite();
    import_models(kGolden);
  }

  /// The loss that a command printed; NaN when it printed none.
  static double loss_in(const std::string& text) {
    std::smatch found;
    const bool has = std::regex_search(text, found, std::regex("loss +([0-9.]+) in fp32"));
    return has ? std::stod(found[1]) : std::numeric_limits<double>::quiet_NaN();
  }
  static ProcessResult generate(const std::string& load, int64_t ranks, const Words& flags) {
    Words words{MEGALITH_BINARY};
    if (ranks > 1) words = words + Words{"launch", "--nproc-per-node", std::to_string(ranks)};
    words = words +
            Words{"generate", "--load",           load,           "--num-threads", "1", "--fp32",
                  "--greedy", "--tokenizer-type", "NullTokenizer"};
    return run_process(words + flags, {}, 120);
  }
  static ProcessResult oracle(const Words& words) {
    return run_oracle("hugging_face_reference.py", words);
  }
  /// A run that starts from imported weights.
  static Words fine_tuning(const std::string& load, const Words& flags) {
    return Words{"--load",
                 load,
                 "--finetune",
                 "--use-checkpoint-args",
                 "--seq-length",
                 "16",
                 "--tokenizer-type",
                 "NullTokenizer",
                 "--vocab-size",
                 "90",
                 "--hidden-dropout",
                 "0",
                 "--attention-dropout",
                 "0",
                 "--eval-iters",
                 "1"} +
           flags;
  }
};

TEST_F(HuggingFaceRun, ImportPrintsTheLossThatTransformersComputes) {
  for (const auto& [name, numbers] : fixed().items()) {
    const std::string& text = report(name);
    EXPECT_NEAR(loss_in(text), numbers.at("loss").get<double>(), 2e-5) << name;
    EXPECT_THAT(text, HasSubstr(numbers.at("class").get<std::string>()));
    EXPECT_THAT(text, HasSubstr("each given back bit for bit"));
    EXPECT_TRUE(
        std::regex_search(text, std::regex("time +written in [0-9.]+ s, verified in [0-9.]+ s\n")))
        << text;
    EXPECT_THAT(checkpoint({"inspect", "--verify", imported(name)}),
                HasSubstr("every byte is as it was written"));
  }
}

TEST_F(HuggingFaceRun, GreedyTextIsThatOfTransformersOnEveryTensorSize) {
  for (const auto& [name, numbers] : fixed().items()) {
    const std::string expected =
        fmt::format("{}", fmt::join(numbers.at("greedy").get<std::vector<int64_t>>(), " "));
    for (const int64_t ranks : {1, 2}) {
      const std::string output = file("generated.jsonl");
      const auto result =
          generate(imported(name), ranks,
                   {"--prompt", "5 1 44 2 17", "--max-new-tokens", "12", "--vocab-size", "95",
                    "--output", output, "--tensor-model-parallel-size", std::to_string(ranks)});
      ASSERT_EQ(result.status, 0) << name << result.err;
      const Json line = Json::parse(read_text_file(output));
      EXPECT_EQ(line.at("text"), expected) << name << " on " << ranks;
    }
  }
}

/// The folder's tokenizer.json is recorded: text comes back without a flag of the tokenizer. Its
/// entries are the printable characters, so that text says which ids it is.
TEST_F(HuggingFaceRun, ATokenizerJsonBesideTheWeightsIsRecorded) {
  constexpr char kFirst = '!';
  Json vocabulary;
  for (char c = kFirst; c <= '~'; ++c) vocabulary[std::string(1, c)] = c - kFirst;
  vocabulary["\u0120"] = 94;  // GPT-2's way to write a space
  const auto token = [](const char* content, int id) {
    return Json{{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", true}};
  };
  const Json level{{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", true}};
  const Json tokenizer{
      {"version", "1.0"},
      {"added_tokens", {token("<|endoftext|>", 95)}},
      {"pre_tokenizer", level},
      {"decoder", level},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", Json::array()}}}};
  std::filesystem::copy(kGolden + "gpt2", file("with_tokenizer"));
  std::ofstream(file("with_tokenizer/tokenizer.json")) << tokenizer.dump();
  const std::string save = file("imported_with_tokenizer");
  EXPECT_THAT(checkpoint({"import-hf", file("with_tokenizer"), "--save", save}),
              HasSubstr("HuggingFaceTokenizer"));

  std::string prompt, expected;
  for (const int id : {5, 1, 44, 2, 17}) prompt += static_cast<char>(kFirst + id);
  for (const int id : fixed().at("gpt2").at("greedy")) expected += static_cast<char>(kFirst + id);
  const auto result = run_process({MEGALITH_BINARY, "generate", "--load", save, "--num-threads",
                                   "1", "--greedy", "--max-new-tokens", "12", "--prompt", prompt},
                                  {}, 120);
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr(prompt + expected));
}

/// Rows of the embedding without a tokenizer's entry are there and are never generated.
TEST_F(HuggingFaceRun, ATokenizerMayHaveFewerEntriesThanAnImportedModel) {
  const std::string output = file("narrow.jsonl");
  const auto result = generate(
      imported("qwen3"), 1,
      {"--prompt", "5 1", "--max-new-tokens", "20", "--vocab-size", "30", "--output", output});
  ASSERT_EQ(result.status, 0) << result.err;
  for (const int64_t id : Json::parse(read_text_file(output)).at("tokens")) EXPECT_LE(id, 30);
  const auto larger = generate(imported("qwen3"), 1, {"--prompt", "5", "--vocab-size", "96"});
  EXPECT_EQ(larger.status, 2);
  EXPECT_THAT(larger.err, HasSubstr("the tokenizer has 97 entries"));
}

TEST_F(HuggingFaceRun, TrainingGoesOnFromItOnAnyTensorSizeAndComesBackOut) {
  std::vector<double> losses;
  for (const int64_t ranks : {1, 2}) {
    const std::string save = file(fmt::format("tuned_{}", ranks));
    train(ranks,
          fine_tuning(imported("qwen3"), {"--save", save, "--train-iters", "3",
                                          "--tensor-model-parallel-size", std::to_string(ranks)}));
    for (const auto& line : metrics_of(save)) {
      for (const char* number : {"lm_loss", "grad_norm"}) {
        if (line.contains(number)) losses.push_back(line.at(number).get<double>());
      }
    }
  }
  ASSERT_EQ(losses.size() % 2, 0u);
  ASSERT_GE(losses.size(), 6u);
  for (size_t i = 0; i < losses.size() / 2; ++i) {
    EXPECT_NEAR(losses[i], losses[losses.size() / 2 + i], 1e-4) << i;
  }
  // The run's own checkpoint knows where it came from: more ids than the tokenizer, config.json.
  train(1, {"--load", file("tuned_2"), "--save", file("tuned_2"), "--use-checkpoint-args",
            "--train-iters", "4", "--hidden-dropout", "0", "--attention-dropout", "0"});
  const std::string text =
      checkpoint({"export-hf", "--load", file("tuned_2"), "--save", file("exported")});
  const Json config = Json::parse(read_text_file(file("exported/config.json")));
  EXPECT_EQ(config.at("model_type"), "qwen3");
  EXPECT_EQ(config.at("eos_token_id"), 2);
  EXPECT_EQ(config.at("vocab_size"), 96);
  if (!has_transformers()) GTEST_SKIP() << "no Python with transformers in .venv";
  const auto result = oracle({"--logits", file("exported")});
  ASSERT_EQ(result.status, 0) << result.err;
  const Json seen = Json::parse(result.out);
  EXPECT_EQ(seen.at("class"), "Qwen3ForCausalLM");
  EXPECT_EQ(seen.at("unmatched"), Json::array());
  EXPECT_NEAR(seen.at("loss").get<double>(), loss_in(text), 2e-5);
}

TEST_F(HuggingFaceRun, WhatIsExportedIsTheSourceForTransformers) {
  if (!has_transformers()) GTEST_SKIP() << "no Python with transformers in .venv";
  Words pairs{"--compare"};
  for (const auto& [name, numbers] : fixed().items()) {
    const std::string out = file("out_" + name);
    checkpoint({"export-hf", "--load", imported(name), "--save", out, "--max-shard-size",
                name == "gpt2" ? "5" : "0.00001"});
    pairs = pairs + Words{kGolden + name, out};
  }
  const auto result = oracle(pairs);
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "[]\n");
}

/// A model that megalith trained from nothing.
TEST_F(HuggingFaceRun, AModelOfOursIsAModelOfTransformers) {
  if (!has_transformers()) GTEST_SKIP() << "no Python with transformers in .venv";
  const std::vector<std::pair<std::string, Words>> models{
      {"GPT2LMHeadModel", {"--openai-gelu"}},
      {"LlamaForCausalLM",
       {"--position-embedding-type", "rope", "--normalization", "RMSNorm", "--swiglu",
        "--disable-bias-linear", "--group-query-attention", "--num-query-groups", "2",
        "--use-rope-scaling", "--untie-embeddings-and-output-weights"}}};
  for (const auto& [name, flags] : models) {
    const std::string save = file("own_" + name), out = file("own_out_" + name);
    train(2, flags + Words{"--save", save, "--train-iters", "2", "--eval-iters", "1",
                           "--tensor-model-parallel-size", "2"});
    const std::string text = checkpoint({"export-hf", "--load", save, "--save", out});
    EXPECT_THAT(text, HasSubstr(name));
    const auto result = oracle({"--logits", out});
    ASSERT_EQ(result.status, 0) << result.err;
    const Json seen = Json::parse(result.out);
    EXPECT_EQ(seen.at("class"), name);
    EXPECT_EQ(seen.at("unmatched"), Json::array());
    EXPECT_NEAR(seen.at("loss").get<double>(), loss_in(text), 2e-5);
  }
}

TEST_F(HuggingFaceRun, MistakesAreUsageErrorsAndLeaveNothing) {
  const auto refused = [](const Words& words, const std::string& text) {
    const auto result = run_process(Words{MEGALITH_BINARY} + words);
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_EQ(result.out, "");
  };
  const std::string spoiled = file("spoiled"), target = file("never");
  std::filesystem::copy(kGolden + "llama", spoiled);
  std::filesystem::resize_file(spoiled + "/model.safetensors", 3000);
  refused({"checkpoint", "import-hf", spoiled, "--save", target}, "truncated");
  refused({"checkpoint", "import-hf", spoiled}, "--save is missing");
  refused({"checkpoint", "import-hf", spoiled}, "truncated");
  refused({"checkpoint", "import-hf", kGolden + "llama", "--save", imported("llama")},
          "is there already");
  refused({"checkpoint", "export-hf", "--load", imported("llama"), "--save", target, "--model-type",
           "t5"},
          "supported are gpt2, llama");
  refused({"checkpoint", "export-hf", "--load", imported("llama"), "--save", target, "--model-type",
           "bert"},
          "it is no BERT");
  refused({"checkpoint", "export-hf", "--load", imported("llama"), "--save", kGolden + "llama"},
          "it is not overwritten");
  EXPECT_FALSE(std::filesystem::exists(target));
  // Two groups of queries, four tensor ranks.
  const auto split =
      generate(imported("llama"), 4,
               {"--prompt", "5", "--vocab-size", "95", "--tensor-model-parallel-size", "4"});
  EXPECT_EQ(split.status, 2);
  EXPECT_THAT(split.err, HasSubstr("--num-query-groups 2 is not divisible by "
                                   "--tensor-model-parallel-size 4"));
  const auto resumed =
      pretrain(1, {"--load", imported("llama"), "--use-checkpoint-args", "--seq-length", "16",
                   "--tokenizer-type", "NullTokenizer", "--vocab-size", "90"});
  EXPECT_EQ(resumed.status, 2);
  EXPECT_THAT(resumed.err, HasSubstr("--finetune"));
}

/// A model straight from the hub: what loads it says which command makes a checkpoint of it.
TEST_F(HuggingFaceRun, AFolderThatWasNotImportedIsMetWithTheCommand) {
  const std::string raw = file("raw");
  std::filesystem::copy(kGolden + "gpt2", raw);
  const std::string command = "megalith checkpoint import-hf " + raw + " --save " + raw;
  const std::string text = file("text.txt");
  std::ofstream(text) << "3 1 4 1 5";
  for (const Words& words :
       {Words{"generate", "--load", raw, "--prompt", "5"},
        Words{"generate", "--load", raw + "/", "--prompt", "5"},
        Words{"evaluate", "perplexity", "--load", raw, "--data", text},
        Words{"evaluate", "lambada", "--load", raw, "--data", text},
        Words{"checkpoint", "inspect", raw},
        Words{"checkpoint", "convert", "--load", raw, "--save", file("never")}}) {
    const auto result = run_process(Words{MEGALITH_BINARY} + words);
    EXPECT_EQ(result.status, 2) << words[0];
    EXPECT_THAT(result.err, HasSubstr("is a Hugging Face model")) << words[0];
    EXPECT_THAT(result.err, HasSubstr(command + "-megalith")) << words[0];
  }
  const std::string weights = raw + "/model.safetensors";
  const auto of_file =
      run_process({MEGALITH_BINARY, "generate", "--load", weights, "--prompt", "5"});
  EXPECT_THAT(of_file.err, HasSubstr("import-hf " + weights + " --save"));
  // The command that it names, and then what failed.
  checkpoint({"import-hf", raw, "--save", raw + "-megalith"});
  const auto result = generate(raw + "-megalith", 1, {"--prompt", "5", "--vocab-size", "95"});
  EXPECT_EQ(result.status, 0) << result.err;
}

TEST_F(HuggingFaceRun, AKilledExportLeavesNothingForLong) {
  const std::string out = file("killed_out");
  std::filesystem::create_directories(out + ".tmp-4194305");  // above every process id
  std::ofstream(out + ".tmp-4194305/model.safetensors") << "half";
  const std::string text = checkpoint({"export-hf", "--load", imported("gpt2"), "--save", out});
  EXPECT_TRUE(
      std::regex_search(text, std::regex("time +written in [0-9.]+ s, verified in [0-9.]+ s\n")))
      << text;
  EXPECT_FALSE(std::filesystem::exists(out + ".tmp-4194305"));
  EXPECT_TRUE(std::filesystem::exists(out + "/config.json"));
}

}  // namespace
}  // namespace megalith::testing

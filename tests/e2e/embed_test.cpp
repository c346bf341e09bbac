// megalith embed from outside: hidden states and vectors of lines, from Hugging Face folders and
// from checkpoints, on every layout; the states that others computed for MiniLM; mistakes.
//
// Models: tests/oracles/hugging_face_bert.py. What needs Python or the large data is skipped where
// it is not there.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <fstream>
#include <regex>

#include "e2e/tiny_run.hpp"
#include "megalith/checkpoint/safetensors.hpp"
#include "megalith/core/atomic_file.hpp"
#include "support/golden.hpp"
#include "support/numeric.hpp"
#include "tokenizer/golden_files.hpp"

namespace megalith::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

const std::string kModels = std::string(MEGALITH_SOURCE_DIR) + "/tests/golden/hugging_face_bert/";
const std::string kPython = std::string(MEGALITH_SOURCE_DIR) + "/.venv/bin/python";
const std::string kOracle =
    std::string(MEGALITH_SOURCE_DIR) + "/tests/oracles/hugging_face_bert.py";
constexpr int64_t kWords = 61, kFirstWord = 5, kCls = 2, kSep = 3;

class Embed : public TinyRun {
 protected:
  static void SetUpTestSuite() {
    TinyRun::SetUpTestSuite();
    std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    for (int64_t i = kFirstWord; i < kWords; ++i) vocabulary += fmt::format("a{}\n", i);
    std::filesystem::create_directories(file("bert"));
    for (const char* name : {"config.json", "model.safetensors"}) {
      std::filesystem::copy_file(kModels + "pretraining/" + name, file("bert/") + name);
    }
    write("bert/vocab.txt", vocabulary);
    write("bert/tokenizer_config.json", R"({"do_lower_case": true})");
    std::string lines;
    for (const auto& row : rows()) {
      std::string line;
      for (const int64_t id : row) line += fmt::format("{}A{}", line.empty() ? "" : " ", id);
      lines += line + "\n";
    }
    write("lines.txt", lines);
    TinyRun::checkpoint({"import-hf", file("bert"), "--save", file("imported"), "--no-loss"});
    TinyRun::checkpoint({"import-hf",
                         std::string(MEGALITH_SOURCE_DIR) + "/tests/golden/hugging_face/gpt2",
                         "--save", file("gpt"), "--no-loss"});
  }

  /// Ids of the lines' words, of all lengths up to the model's positions; one line is empty.
  static std::vector<std::vector<int64_t>> rows() {
    std::vector<std::vector<int64_t>> rows;
    for (int64_t line = 0; line < 13; ++line) {
      auto& row = rows.emplace_back();
      for (int64_t i = 0; i < line * 7 % 11; ++i) {
        row.push_back(kFirstWord + (line * 17 + i * 5) % (kWords - kFirstWord));
      }
    }
    return rows;
  }
  static void write(const std::string& name, const std::string& bytes) {
    std::ofstream(file(name)) << bytes;
  }
  static ProcessResult embed(int64_t ranks, const Words& flags) {
    Words words{MEGALITH_BINARY};
    if (ranks > 1) words = words + Words{"launch", "--nproc-per-node", std::to_string(ranks)};
    return run_process(words + Words{"embed", "--num-threads", "1"} + flags, {}, 120);
  }
  /// The tensors of a run that must succeed.
  static TensorMap embedded(int64_t ranks, const std::string& load, const Words& flags) {
    const std::string output = file("embedded.safetensors");
    const auto result = embed(ranks, Words{"--load", load, "--input", file("lines.txt"), "--output",
                                           output, "--micro-batch-size", "3"} +
                                         flags);
    EXPECT_EQ(result.status, 0) << result.err;
    TensorMap tensors;
    if (result.status != 0) return tensors;
    const SafetensorsFile file(output);
    for (const auto& entry : file.entries()) tensors[entry.name] = file.tensor(entry).clone();
    return tensors;
  }
};

TEST_F(Embed, PoolsWhatItWritesWithoutPooling) {
  const TensorMap none = embedded(1, file("bert"), {"--pooling", "none"});
  const at::Tensor states = none.at("hidden_states"), mask = none.at("mask");
  const auto lines = rows();
  ASSERT_EQ(states.sizes(), (std::vector<int64_t>{13, 12, 8}));
  for (int64_t i = 0; i < 13; ++i) {
    EXPECT_EQ(mask[i].sum().item<int64_t>(), std::ssize(lines[i]) + 2) << i;
  }
  const at::Tensor seen = mask.unsqueeze(-1);
  expect_equal(states * (1 - seen), at::zeros_like(states), "padding");
  expect_equal(embedded(1, file("bert"), {"--pooling", "cls"}).at("embeddings"),
               states.select(1, 0), "cls");
  expect_close(embedded(1, file("bert"), {}).at("embeddings"),
               (states.to(at::kDouble) * seen).sum(1) / seen.sum(1), 1e-6, "mean");
}

TEST_F(Embed, EveryLayoutAndSourceGivesTheSame) {
  const Words kNone{"--pooling", "none"};
  const TensorMap states = embedded(1, file("bert"), kNone);
  const TensorMap vectors = embedded(1, file("bert"), {});
  const auto same = [&](int64_t ranks, const std::string& load, const Words& flags,
                        double tolerance) {
    const TensorMap other = embedded(ranks, load, kNone + flags);
    expect_close(other.at("hidden_states"), states.at("hidden_states"), tolerance, "states");
    expect_equal(other.at("mask"), states.at("mask"), "mask");
    expect_close(embedded(ranks, load, flags).at("embeddings"), vectors.at("embeddings"), tolerance,
                 "vectors");
  };
  same(1, file("imported"), {}, 0);
  same(1, file("bert/model.safetensors"), {}, 0);
  same(2, file("bert"), {}, 0);
  same(3, file("imported"), {}, 0);
  same(2, file("bert"), {"--tensor-model-parallel-size", "2"}, 1e-6);
  same(4, file("imported"), {"--tensor-model-parallel-size", "2"}, 1e-6);
}

TEST_F(Embed, StatesAreThoseOfTransformers) {
  const bool has_transformers =
      std::filesystem::exists(kPython) &&
      run_process({kPython, "-c", "import torch, transformers, safetensors"}, {}, 120).status == 0;
  if (!has_transformers) GTEST_SKIP() << "no Python with transformers in .venv";
  Json ids = Json::array();
  for (auto row : rows()) {
    row.insert(row.begin(), kCls);
    row.push_back(kSep);
    ids.push_back(row);
  }
  write("ids.json", ids.dump());
  const auto result =
      run_process({kPython, kOracle, "--embed", file("bert"), "--ids", file("ids.json")},
                  {.environment = {{"HF_HUB_OFFLINE", "1"}}}, 120);
  ASSERT_EQ(result.status, 0) << result.err;
  const Json expected = Json::parse(result.out);
  const at::Tensor states =
      embedded(1, file("imported"), {"--pooling", "none"}).at("hidden_states");
  for (size_t row = 0; row < expected.size(); ++row) {
    std::vector<at::Tensor> places;
    for (const auto& place : expected[row]) places.push_back(doubles(place));
    const at::Tensor theirs = at::stack(places);
    expect_close(states[static_cast<int64_t>(row)].narrow(0, 0, theirs.size(0)), theirs, 1e-5,
                 fmt::format("line {}", row));
  }
}

TEST_F(Embed, LongerLinesAreCutAndCounted) {
  const std::string output = file("cut.safetensors");
  const auto result = embed(1, {"--load", file("bert"), "--input", file("lines.txt"), "--output",
                                output, "--seq-length", "8", "--pooling", "none"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("were longer and cut to 8"));
  EXPECT_THAT(result.out, HasSubstr("hidden_states [13, 8, 8] in F32"));
  const SafetensorsFile file(output);
  EXPECT_EQ(file.metadata().at("pooling"), "none");
}

/// The numbers of a snapshot, row by row: "- - 0.1", "  - 0.2".
at::Tensor snapshot(const std::string& path, int64_t width) {
  std::ifstream in(path);
  std::vector<double> numbers;
  for (std::string line; std::getline(in, line);) {
    std::smatch found;
    if (std::regex_match(line, found, std::regex("[- ]*- (-?[0-9.e-]+)"))) {
      numbers.push_back(std::stod(found[1]));
    }
  }
  return at::tensor(numbers, at::kDouble).view({-1, width});
}

/// Weights that are stored in fp16, against states that others computed from those in fp32.
TEST_F(Embed, MiniLmGivesThePublishedStates) {
  MEGALITH_LARGE_FILE(weights, "bert-minilm/model.fp16.safetensors");
  MEGALITH_LARGE_FILE(vocabulary, "bert-vocab/bert-base-uncased-vocab.txt");
  const std::string folder = std::filesystem::path(weights).parent_path().string();
  write("question.txt", "What is Deep Learning?\nhello world");
  const auto run = [&](const std::string& pooling, int64_t tensor) {
    const std::string output = file("minilm.safetensors");
    const auto result =
        embed(tensor, {"--load", tensor == 1 ? folder : weights, "--fp32", "--tokenizer-type",
                       "BertWordPieceLowerCase", "--vocab-file", vocabulary, "--input",
                       file("question.txt"), "--output", output, "--pooling", pooling,
                       "--tensor-model-parallel-size", std::to_string(tensor)});
    EXPECT_EQ(result.status, 0) << result.err;
    const SafetensorsFile file(output);
    return file.tensor(file.entries().front()).clone();
  };
  const auto compare = [](const at::Tensor& ours, const at::Tensor& theirs) {
    ASSERT_EQ(ours.sizes(), theirs.sizes());
    EXPECT_LT((ours - theirs).abs().max().item<double>(), 3e-3);
    const at::Tensor cosine = at::cosine_similarity(ours.to(at::kDouble), theirs, 1);
    EXPECT_GE(cosine.min().item<double>(), 0.999999);
  };
  for (const int64_t tensor : {1, 2}) {
    const std::string name = folder + "/test_bert__bert_single";
    compare(run("none", tensor)[0].narrow(0, 0, 7), snapshot(name + "_raw.snap", 384));
    compare(run("cls", tensor).narrow(0, 0, 1), snapshot(name + "_pooled.snap", 384));
    const at::Tensor mean = run("mean", tensor);
    compare(mean.narrow(0, 0, 1), snapshot(name + ".snap", 384));
    // fastembed's tests.
    const at::Tensor hello = mean[1] / mean[1].norm();
    expect_close(hello.narrow(0, 0, 5),
                 at::tensor({-0.034478, 0.03102, 0.00673, 0.02611, -0.039362}, at::kDouble), 1e-3);
  }
}

TEST_F(Embed, MistakesAreNamedAndLeaveNothing) {
  const std::string output = file("never.safetensors");
  const auto refused = [&](const Words& flags) {
    const auto result = embed(1, flags + Words{"--output", output});
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_FALSE(std::filesystem::exists(output));
    return result.err;
  };
  EXPECT_THAT(refused({}), AllOf(HasSubstr("--load is missing"), HasSubstr("--input is missing")));
  EXPECT_THAT(refused({"--load", file("gpt"), "--input", file("none.txt")}),
              AllOf(HasSubstr("holds a GPT"), HasSubstr("none.txt")));
  EXPECT_THAT(refused({"--load",
                       std::string(MEGALITH_SOURCE_DIR) +
                           "/tests/golden/hugging_face/gpt2/model.safetensors",
                       "--input", file("lines.txt")}),
              HasSubstr("holds a GPT"));
  write("empty.txt", "");
  EXPECT_THAT(refused({"--load", file("bert"), "--input", file("empty.txt")}),
              HasSubstr("is empty"));
  EXPECT_THAT(refused({"--load", file("bert"), "--input", file("lines.txt"), "--seq-length", "13",
                       "--ckpt-step", "3"}),
              AllOf(HasSubstr("--seq-length 13 is longer than the 12 positions"),
                    HasSubstr("--ckpt-step 3")));
  EXPECT_THAT(refused({"--load", kModels + "pretraining", "--input", file("lines.txt")}),
              HasSubstr("--tokenizer-type"));
  EXPECT_THAT(refused({"--load", file("bert"), "--input", file("lines.txt"), "--num-layers", "3"}),
              HasSubstr("the checkpoint says what the model is"));
}

/// The other commands that use a trained model take decoders.
TEST_F(Embed, GenerateAndEvaluateRefuseABert) {
  for (const Words& words : {Words{"generate", "--prompt", "a5"},
                             Words{"evaluate", "perplexity", "--data", file("lines.txt")}}) {
    const auto result =
        run_process(Words{MEGALITH_BINARY} + words + Words{"--load", file("imported")});
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.err, HasSubstr("holds a bert model; give a checkpoint of a GPT"));
  }
}

}  // namespace
}  // namespace megalith::testing

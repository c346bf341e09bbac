#include "tests/e2e/tiny_run.hpp"

#include <fmt/format.h>

#include <fstream>

#include "support/tiny_corpus.hpp"

namespace megalith::testing {
namespace {

constexpr double kPatience = 120;  // seconds; a run takes two, and more on a busy machine

}  // namespace

void TinyRun::SetUpTestSuite() {
  folder_ = std::make_unique<TemporaryFolder>();
  make_tiny_corpus(folder_->path(), "threes", 3);
  make_tiny_corpus(folder_->path(), "fives", 5);
  folder_->write("run.toml", fmt::format(R"(
micro-batch-size = 2
global-batch-size = 4
lr = 0.01
eval-interval = 5
eval-iters = 2
log-interval = 1
split = "80,10,10"
data-path = ["{}"]
num-threads = 1
)",
                                         file("threes_text_document")));
}

void TinyRun::TearDownTestSuite() { folder_.reset(); }

std::string TinyRun::file(const std::string& name) { return folder_->path(name); }

Words TinyRun::command(int64_t num_ranks, const Words& flags) {
  Words words{MEGALITH_BINARY};
  if (num_ranks > 1) words = words + Words{"launch", "--nproc-per-node", std::to_string(num_ranks)};
  words = words + Words{"pretrain", "gpt", "--config", file("run.toml")} + flags;
  const auto has = [&](const char* flag) {
    return std::find(words.begin(), words.end(), flag) != words.end();
  };
  if (!has("--use-checkpoint-args")) {
    const Words shape{"--num-layers",          "2",
                      "--hidden-size",         "32",
                      "--seq-length",          "16",
                      "--num-attention-heads", "4",
                      "--tokenizer-type",      "NullTokenizer",
                      "--vocab-size",          "90"};
    for (size_t i = 0; i < shape.size(); i += 2) {
      if (!has(shape[i].c_str())) words = words + Words{shape[i], shape[i + 1]};
    }
  }
  if (!has("--train-iters") && !has("--train-samples"))
    words = words + Words{"--train-iters", "12"};
  return words;
}

ProcessResult TinyRun::pretrain(int64_t num_ranks, const Words& flags) {
  return run_process(command(num_ranks, flags), {}, kPatience);
}

std::string TinyRun::train(int64_t num_ranks, const Words& flags) {
  const auto result = pretrain(num_ranks, flags);
  EXPECT_EQ(result.status, 0) << result.err << result.out;
  return result.out;
}

std::string TinyRun::checkpoint(const Words& words) {
  const auto result = run_process(Words{MEGALITH_BINARY, "checkpoint"} + words, {}, kPatience);
  EXPECT_EQ(result.status, 0) << result.err << result.out;
  return result.out;
}

std::vector<nlohmann::json> TinyRun::metrics_of(const std::string& folder) {
  std::vector<nlohmann::json> lines;
  std::ifstream in(folder + "/metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    auto object = nlohmann::json::parse(line);
    for (const char* key : {"seconds", "tokens_per_second", "model_flops_per_second"}) {
      object.erase(key);
    }
    lines.push_back(std::move(object));
  }
  EXPECT_FALSE(lines.empty()) << folder;
  return lines;
}

void TinyRun::expect_identical(const std::string& a, const std::string& b) {
  const auto of_a = metrics_of(a), of_b = metrics_of(b);
  EXPECT_EQ(of_a.size(), of_b.size());
  for (size_t i = 0; i < std::min(of_a.size(), of_b.size()); ++i) EXPECT_EQ(of_a[i], of_b[i]);
  const std::string diff = checkpoint({"diff", a, b});
  const size_t at = diff.find("Tensors: ");
  ASSERT_NE(at, std::string::npos) << diff;
  int identical = 0, all = 0;
  ASSERT_EQ(std::sscanf(diff.c_str() + at, "Tensors: %d of %d bit-identical", &identical, &all), 2);
  EXPECT_GT(all, 50) << "the optimizer's state is missing";
  EXPECT_EQ(identical, all) << diff;
}

Words TinyRun::checkpoints_in(const std::string& folder) {
  Words names;
  for (const auto& name : names_in(folder)) {
    if (name.starts_with("iter_")) names.push_back(name);
  }
  return names;
}

}  // namespace megalith::testing

// The bodies of the CPU's tests on a CUDA device: model and gradients, recompute, the optimizer,
// and the program itself. Skipped, visibly, where the build or the machine has none.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "megalith/core/error.hpp"
#include "megalith/ops/adam.hpp"
#include "megalith/parallel/backends.hpp"
#include "models/tiny_gpt.hpp"
#include "support/numeric.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"

namespace megalith::testing {
namespace {

const at::Device kCuda(at::kCUDA, 0);

class Gpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_compiled_in()) GTEST_SKIP() << "this build has no CUDA; the preset cuda has";
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device is visible";
  }
};

/// Loss and every gradient in double, for every variant of the model.
TEST_F(Gpu, StepEqualsTheCpus) {
  for (const auto& [name, config] : tiny_variants()) {
    for (const TinyBatch& batch : {tiny_batch(config), tiny_batch_of_documents(config)}) {
      const StepResult cpu = run_step(config, {}, batch);
      const StepResult gpu = run_step(config, {}, batch, {.device = kCuda});
      expect_close(gpu.loss, cpu.loss, 1e-10, name + ": loss");
      expect_close(gpu.token_losses, cpu.token_losses, 1e-10, name + ": token losses");
      expect_close_maps(gpu.gradients, cpu.gradients, 1e-10, name + ": ");
    }
  }
}

/// bf16 rounds to 8 bits in every layer, on both sides in other places.
TEST_F(Gpu, NarrowTypesStayNearTheExactLosses) {
  const ModelConfig config = tiny_gpt2();
  const TinyBatch batch = tiny_batch(config);
  const StepResult exact = run_step(config, {}, batch);
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kFloat, 1e-5}, {at::kHalf, 2e-2}, {at::kBFloat16, 1e-1}}) {
    const StepResult narrow = run_step(config, {}, batch, {.dtype = dtype, .device = kCuda});
    expect_close(narrow.token_losses, exact.token_losses, tolerance);
  }
}

TEST_F(Gpu, EveryWayOfRecomputingGivesTheSameBitsWithDropout) {
  ModelConfig config = tiny_gpt2();
  config.hidden_dropout = 0.2;
  config.attention_dropout = 0.3;
  const TinyBatch batch = tiny_batch(config);
  using Kind = RecomputePlan::Kind;
  const auto run = [&](const RecomputePlan& plan) {
    return run_step(config, {}, batch,
                    {.recompute = plan, .training = true, .dtype = at::kFloat, .device = kCuda});
  };
  const StepResult plain = run({});
  for (const RecomputePlan& plan :
       {RecomputePlan{Kind::kSelective}, RecomputePlan{Kind::kUniform, 1}, {Kind::kBlock, 1}}) {
    const StepResult again = run(plan);
    expect_equal(again.token_losses, plain.token_losses);
    // Sums by atomic additions may come in another order.
    expect_close_maps(again.gradients, plain.gradients, 1e-6);
  }
}

TEST_F(Gpu, AdamEqualsTheCpus) {
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    std::vector<at::Tensor> parameters;
    for (const at::Device device : {at::Device(at::kCPU), kCuda}) {
      const auto options = at::TensorOptions(device).dtype(dtype);
      at::Tensor parameter = normal({1000}, 1).to(options), first = at::zeros({1000}, options);
      at::Tensor second = at::zeros({1000}, options), rounded = parameter.to(at::kBFloat16);
      for (int64_t step = 1; step <= 20; ++step) {
        ops::adam_update(parameter, normal({1000}, 100 + step).to(options), first, second, rounded,
                         {0.01, 0.9, 0.999, 1e-8, 0.1, step, 0.5});
      }
      expect_equal(rounded, parameter.to(at::kBFloat16));
      parameters.push_back(parameter.to(at::kCPU));
    }
    expect_close(parameters[1], parameters[0], dtype == at::kDouble ? 1e-12 : 1e-5);
  }
}

std::vector<double> losses_of(const std::string& path) {
  std::vector<double> losses;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const auto object = nlohmann::json::parse(line);
    if (object.contains("lm_loss")) losses.push_back(object.at("lm_loss"));
  }
  return losses;
}

/// The program trains, saves and resumes; on as many devices as there are, up to two, over NCCL.
TEST_F(Gpu, ProgramTrainsAsOnTheCpu) {
  const TemporaryFolder folder;
  const int64_t most = std::min<int64_t>(2, cuda_device_count());
  const auto train = [&](int64_t ranks, const std::string& device, const std::string& save) {
    std::vector<std::string> words{MEGALITH_BINARY};
    if (ranks > 1) words.insert(words.end(), {"launch", "--nproc-per-node", std::to_string(ranks)});
    for (const char* word : {"pretrain",
                             "gpt",
                             "--num-layers",
                             "2",
                             "--hidden-size",
                             "32",
                             "--num-attention-heads",
                             "4",
                             "--seq-length",
                             "16",
                             "--micro-batch-size",
                             "2",
                             "--global-batch-size",
                             "4",
                             "--train-iters",
                             "8",
                             "--lr",
                             "0.01",
                             "--hidden-dropout",
                             "0",
                             "--attention-dropout",
                             "0",
                             "--mock-data",
                             "--tokenizer-type",
                             "NullTokenizer",
                             "--vocab-size",
                             "90",
                             "--eval-iters",
                             "0",
                             "--save-interval",
                             "4"}) {
      words.emplace_back(word);
    }
    words.insert(words.end(), {"--tensor-model-parallel-size", std::to_string(ranks), "--device",
                               device, "--save", folder.path(save)});
    const auto result = run_process(words, {}, 300);
    EXPECT_EQ(result.status, 0) << result.err << result.out;
    return losses_of(folder.path(save) + "/metrics.jsonl");
  };
  const auto cpu = train(1, "cpu", "cpu");
  ASSERT_EQ(cpu.size(), 8u);
  for (int64_t ranks = 1; ranks <= most; ++ranks) {
    const auto gpu = train(ranks, "cuda", "cuda" + std::to_string(ranks));
    ASSERT_EQ(gpu.size(), 8u);
    for (size_t i = 0; i < gpu.size(); ++i) EXPECT_NEAR(gpu[i], cpu[i], 1e-3 * cpu[i]);
  }
}

}  // namespace
}  // namespace megalith::testing

// Times a training step of GPT-2 124M on one process, and the operators it is made of.
//
//   build/release/step_bench --benchmark_repetitions=5 --benchmark_report_aggregates_only=true
//
// Counters: tokens/s for steps, FLOP/s for products. Inputs are random; results are not checked
// here but in the tests.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <torch/csrc/autograd/autograd.h>

#include <thread>

#include "megalith/models/gpt.hpp"
#include "megalith/ops/adam.hpp"
#include "megalith/ops/attention.hpp"
#include "megalith/ops/elementwise.hpp"
#include "megalith/ops/linear.hpp"
#include "megalith/optimizer/optimizer.hpp"

namespace megalith {
namespace {

ModelConfig gpt2_124m() {
  ModelConfig config;
  config.num_layers = 12;
  config.hidden_size = 768;
  config.num_attention_heads = 12;
  config.max_position_embeddings = 1024;
  config.openai_gelu = true;
  config.hidden_dropout = config.attention_dropout = 0;
  config.vocab_size = 50257;
  return config;
}

/// Forward, backward, clip and Adam on `batch` x `seq` random tokens.
void training_step(benchmark::State& state, at::ScalarType type) {
  const int64_t batch = state.range(0), seq = state.range(1);
  const ProcessGroups groups;
  GptModel model(gpt2_124m(), groups, type, at::kCPU, 1234);
  GradientBuffer gradients(model.parameters(), groups.data(), groups.tensor(), 40'000'000);
  Optimizer optimizer(model.parameters(), gradients, {}, groups.model(), true);
  const at::Tensor ids = at::randint(50257, {batch, seq + 1}, at::kLong);
  const ModelInput input{ids.narrow(1, 0, seq), at::arange(seq).expand({batch, seq}), {}};
  for (auto _ : state) {
    gradients.zero();
    LayerContext context;
    context.training = true;
    const at::Tensor loss =
        model.token_losses(input, ids.narrow(1, 1, seq).contiguous(), context).mean();
    torch::autograd::backward({loss}, {});
    optimizer.step(1e-4, 0.01, 1.0);
  }
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(batch * seq),
                                                  benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK_CAPTURE(training_step, fp32, at::kFloat)->Args({4, 64})->Args({1, 1024})->UseRealTime();
BENCHMARK_CAPTURE(training_step, bf16, at::kBFloat16)
    ->Args({4, 64})
    ->Args({1, 1024})
    ->UseRealTime();

/// [tokens, 768] x [768, 3072], the MLP's first product and its gradients.
void mlp_product(benchmark::State& state, at::ScalarType type) {
  const int64_t tokens = state.range(0);
  const at::Tensor x = at::randn({tokens, 768}).to(type), w = at::randn({3072, 768}).to(type);
  const at::Tensor b = at::randn({3072}).to(type), dy = at::randn({tokens, 3072}).to(type);
  for (auto _ : state) {
    benchmark::DoNotOptimize(ops::linear(x, w, b));
    benchmark::DoNotOptimize(ops::linear_input_gradient(dy, w));
    benchmark::DoNotOptimize(ops::linear_weight_gradient(dy, x));
  }
  state.counters["FLOP/s"] = benchmark::Counter(6.0 * static_cast<double>(tokens) * 768 * 3072,
                                                benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK_CAPTURE(mlp_product, fp32, at::kFloat)->Arg(256)->Arg(1024)->UseRealTime();
BENCHMARK_CAPTURE(mlp_product, bf16, at::kBFloat16)->Arg(256)->Arg(1024)->UseRealTime();

void causal_attention(benchmark::State& state, at::ScalarType type) {
  const int64_t seq = state.range(0);
  const at::Tensor q = at::randn({seq, 1, 12, 64}).to(type);
  for (auto _ : state) benchmark::DoNotOptimize(ops::attention(q, q, q, {}));
}
BENCHMARK_CAPTURE(causal_attention, fp32, at::kFloat)->Arg(64)->Arg(1024)->UseRealTime();

void adam(benchmark::State& state) {
  at::Tensor p = at::randn({state.range(0)}), g = at::randn_like(p), m = at::zeros_like(p),
             v = at::zeros_like(p), rounded;
  int64_t step = 0;
  for (auto _ : state) {
    ops::adam_update(p, g, m, v, rounded, {1e-4, 0.9, 0.999, 1e-8, 0.01, ++step, 1.0});
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) * 28);
}
BENCHMARK(adam)->Arg(38'597'376)->UseRealTime();

}  // namespace
}  // namespace megalith

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  at::set_num_threads(static_cast<int>(std::thread::hardware_concurrency()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

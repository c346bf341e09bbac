// What a step of the model sends, counted (the paper's section 3): two all-reduces a layer each
// way.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "models/tiny_gpt.hpp"

namespace megalith::testing {
namespace {

struct Expected {
  int64_t calls, bytes;
};

void expect_only(const Traffic& traffic, const Expected& expected, const char* what) {
  ASSERT_EQ(traffic.entries.size(), 1u) << what;
  const auto& [name, entry] = *traffic.entries.begin();
  EXPECT_EQ(name, "all_reduce tensor") << what;
  EXPECT_EQ(entry.calls, expected.calls) << what;
  EXPECT_EQ(entry.bytes, expected.bytes) << what;
}

class GptTraffic : public ::testing::TestWithParam<int64_t> {};

TEST_P(GptTraffic, ForwardAndBackwardAllReducesOfAStep) {
  const int64_t tensor = GetParam();
  for (const int64_t layers : {1, 2, 3}) {
    ModelConfig config = tiny_gpt2();
    config.num_layers = layers;
    const StepResult step = run_step(config, {.tensor = tensor}, tiny_batch(config));
    const int64_t tokens = 4 * 9, activation = tokens * config.hidden_size * 8,
                  scalars = tokens * 8;
    for (int64_t rank = 0; rank < tensor; ++rank) {
      expect_only(step.forward_traffic[rank],
                  {2 * layers + 1 + 3, (2 * layers + 1) * activation + 3 * scalars}, "forward");
      expect_only(step.backward_traffic[rank], {2 * layers + 1, (2 * layers + 1) * activation},
                  "backward");
    }
  }
}
INSTANTIATE_TEST_SUITE_P(TensorSizes, GptTraffic, ::testing::Values(2, 4));

TEST(GptTrafficAlone, OneTensorRankSendsNothing) {
  const ModelConfig config = tiny_gpt2();
  const StepResult step = run_step(config, {.data = 2}, tiny_batch(config));
  for (int64_t rank = 0; rank < 2; ++rank) {
    EXPECT_TRUE(step.forward_traffic[rank].entries.empty());
    EXPECT_TRUE(step.backward_traffic[rank].entries.empty());
  }
}

/// Recomputing a layer repeats its two forward all-reduces; recomputing attention repeats none.
TEST(GptTrafficAlone, RecomputeRepeatsForwardTraffic) {
  const ModelConfig config = tiny_gpt2();
  const auto backward_calls = [&](const RecomputePlan& plan) {
    const StepResult step =
        run_step(config, {.tensor = 2}, tiny_batch(config), {.recompute = plan});
    return step.backward_traffic[0].entries.at("all_reduce tensor").calls;
  };
  EXPECT_EQ(backward_calls({RecomputePlan::Kind::kNone}), 5);
  EXPECT_EQ(backward_calls({RecomputePlan::Kind::kSelective}), 5);
  EXPECT_EQ(backward_calls({RecomputePlan::Kind::kBlock, 1}), 7);
  EXPECT_EQ(backward_calls({RecomputePlan::Kind::kUniform, 1}), 9);
}

}  // namespace
}  // namespace megalith::testing

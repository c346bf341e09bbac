// The pieces of cross entropy, put together slice by slice, against PyTorch's own.
#include "megalith/ops/cross_entropy.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

struct LossAndGradient {
  at::Tensor loss, gradient;
};

/// What the ranks do, one slice of `width` columns after another.
LossAndGradient in_slices(const at::Tensor& logits, const at::Tensor& targets, int64_t width,
                          const at::Tensor& slope) {
  const auto slices = logits.split(width, -1);
  at::Tensor maximum = ops::row_max(slices[0]);
  for (const auto& slice : slices) maximum = at::maximum(maximum, ops::row_max(slice));
  at::Tensor target = at::zeros_like(maximum), sums = at::zeros_like(maximum);
  std::vector<at::Tensor> exponentials, gradients;
  for (size_t i = 0; i < slices.size(); ++i) {
    at::Tensor part;
    exponentials.push_back(ops::shifted_exponentials(slices[i], maximum, part));
    sums = sums + part;
    target = target + ops::target_logits(slices[i], targets, int64_t(i) * width, maximum);
  }
  for (size_t i = 0; i < slices.size(); ++i) {
    gradients.push_back(ops::cross_entropy_gradient(
        exponentials[i], sums, targets, int64_t(i) * width, slope, logits.scalar_type()));
  }
  return {sums.log() - target, at::cat(gradients, -1)};
}

TEST(CrossEntropyOps, SlicesEqualPyTorch) {
  const at::Tensor targets = integers({20}, 12, 2), slope = normal({20}, 3);
  for (const double scale : {1.0, 1000.0}) {
    const at::Tensor logits = (normal({20, 12}, 1) * scale).set_requires_grad(true);
    const at::Tensor expected = at::cross_entropy_loss(logits, targets, {}, at::Reduction::None);
    (expected * slope).sum().backward();
    for (const int64_t width : {12, 6, 3, 1}) {
      const auto [loss, gradient] = in_slices(logits.detach(), targets, width, slope);
      expect_close(loss, expected, 1e-14);
      expect_close(gradient, logits.grad(), 1e-14);
    }
  }
}

TEST(CrossEntropyOps, MinusInfinityIsNoClass) {
  at::Tensor logits = normal({5, 12}, 1);
  logits.narrow(-1, 9, 3).fill_(-std::numeric_limits<double>::infinity());
  const at::Tensor targets = integers({5}, 9, 2), slope = at::ones({5}, at::kDouble);
  for (const int64_t width : {12, 6, 3}) {
    const auto [loss, gradient] = in_slices(logits, targets, width, slope);
    const auto bare = in_slices(logits.narrow(-1, 0, 9), targets, 9, slope);
    expect_close(loss, bare.loss, 1e-14);
    expect_close(gradient.narrow(-1, 0, 9), bare.gradient, 1e-14);
    EXPECT_EQ(gradient.narrow(-1, 9, 3).abs().max().item<double>(), 0);
  }
}

/// bf16 logits: everything after them in fp32, the gradient rounded back.
TEST(CrossEntropyOps, NarrowLogitsAreTreatedInSinglePrecision) {
  const at::Tensor logits = (normal({20, 12}, 1) * 3).to(at::kBFloat16);
  const at::Tensor targets = integers({20}, 12, 2), slope = at::ones({20}, at::kFloat);
  const auto exact = in_slices(logits.to(at::kDouble), targets, 12, slope.to(at::kDouble));
  const auto narrow = in_slices(logits, targets, 4, slope);
  EXPECT_EQ(narrow.loss.scalar_type(), at::kFloat);
  EXPECT_EQ(narrow.gradient.scalar_type(), at::kBFloat16);
  expect_close(narrow.loss, exact.loss, 1e-6);
  expect_close_relative(narrow.gradient, exact.gradient, 0x1p-8);
}

}  // namespace
}  // namespace megalith::testing

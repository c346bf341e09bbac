// The pieces of cross entropy, put together slice by slice, against PyTorch's own.
#include "megalith/ops/cross_entropy.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

struct LossAndGradient {
  at::Tensor loss, gradient;
};

/// What the ranks do, one slice of `width` columns after another; the first `valid` are ids.
LossAndGradient in_slices(const at::Tensor& logits, const at::Tensor& targets, int64_t width,
                          const at::Tensor& slope, int64_t valid) {
  std::vector<at::Tensor> slices;
  for (const auto& slice : logits.split(width, -1)) slices.push_back(slice.clone());
  const auto first_of = [&](size_t i) { return static_cast<int64_t>(i) * width; };
  const auto valid_of = [&](size_t i) {
    return std::clamp<int64_t>(valid - first_of(i), 0, width);
  };
  at::Tensor maximum = ops::row_max(slices[0], valid_of(0));
  for (size_t i = 1; i < slices.size(); ++i) {
    maximum = at::maximum(maximum, ops::row_max(slices[i], valid_of(i)));
  }
  at::Tensor target = at::zeros_like(maximum), sums = at::zeros_like(maximum);
  for (size_t i = 0; i < slices.size(); ++i) {
    sums = sums + ops::exponential_sums(slices[i], maximum, valid_of(i));
    target = target + ops::target_logits(slices[i], targets, first_of(i), valid_of(i), maximum);
  }
  for (size_t i = 0; i < slices.size(); ++i) {
    ops::cross_entropy_gradient_(slices[i], maximum, sums, targets, first_of(i), valid_of(i),
                                 slope);
  }
  return {sums.log() - target, at::cat(slices, -1)};
}

TEST(CrossEntropyOps, SlicesEqualPyTorch) {
  const at::Tensor targets = integers({20}, 12, 2), slope = normal({20}, 3);
  for (const double scale : {1.0, 1000.0}) {
    const at::Tensor logits = (normal({20, 12}, 1) * scale).set_requires_grad(true);
    const at::Tensor expected = at::cross_entropy_loss(logits, targets, {}, at::Reduction::None);
    (expected * slope).sum().backward();
    for (const int64_t width : {12, 6, 3, 1}) {
      const auto [loss, gradient] = in_slices(logits.detach(), targets, width, slope, 12);
      expect_close(loss, expected, 1e-14);
      expect_close(gradient, logits.grad(), 1e-14);
    }
  }
}

/// Whatever stands in the padding, also where a whole slice is padding.
TEST(CrossEntropyOps, PaddingIsNoClass) {
  at::Tensor logits = normal({5, 12}, 1);
  logits.narrow(-1, 9, 3).fill_(1e4);
  const at::Tensor targets = integers({5}, 9, 2), slope = at::ones({5}, at::kDouble);
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    for (const int64_t width : {12, 6, 3}) {
      const at::Tensor narrow = logits.to(dtype);
      const auto [loss, gradient] = in_slices(narrow, targets, width, slope, 9);
      const auto bare = in_slices(narrow.narrow(-1, 0, 9), targets, 9, slope, 9);
      expect_close(loss, bare.loss, dtype == at::kDouble ? 1e-14 : 1e-6);
      expect_close(gradient.narrow(-1, 0, 9), bare.gradient, dtype == at::kDouble ? 1e-14 : 1e-6);
      EXPECT_EQ(gradient.narrow(-1, 9, 3).abs().max().item<double>(), 0);
    }
  }
}

/// The vectorized loops, over more columns than a block of theirs, on large and small logits.
TEST(CrossEntropyOps, LongRowsEqualPyTorch) {
  const at::Tensor targets = integers({7}, 9001, 2), slope = normal({7}, 3);
  for (const double scale : {1.0, 30.0, 1000.0}) {
    const at::Tensor logits = (normal({7, 9001}, 1) * scale).to(at::kFloat).to(at::kDouble);
    const at::Tensor leaf = logits.clone().set_requires_grad(true);
    const at::Tensor expected = at::cross_entropy_loss(leaf, targets, {}, at::Reduction::None);
    (expected * slope).sum().backward();
    const auto [loss, gradient] = in_slices(logits.to(at::kFloat), targets, 9001, slope, 9001);
    expect_close(loss, expected, 1e-6);
    expect_close(gradient, leaf.grad(), 1e-6);
  }
}

TEST(CrossEntropyOps, NotANumberIsNotHidden) {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
    at::Tensor logits = normal({2, 40}, 1).to(dtype);
    logits[0][17].fill_(std::numeric_limits<double>::quiet_NaN());
    const at::Tensor targets = integers({2}, 40, 2), slope = at::ones({2}, at::kDouble);
    const auto [loss, gradient] = in_slices(logits, targets, 40, slope, 40);
    EXPECT_TRUE(at::isnan(loss[0]).item<bool>());
    EXPECT_FALSE(at::isnan(loss[1]).item<bool>());
    EXPECT_TRUE(at::isnan(gradient[0]).any().item<bool>());
  }
}

/// bf16 logits: everything after them in fp32, the gradient rounded back.
TEST(CrossEntropyOps, NarrowLogitsAreTreatedInSinglePrecision) {
  const at::Tensor logits = (normal({20, 12}, 1) * 3).to(at::kBFloat16);
  const at::Tensor targets = integers({20}, 12, 2), slope = at::ones({20}, at::kFloat);
  const auto exact = in_slices(logits.to(at::kDouble), targets, 12, slope.to(at::kDouble), 12);
  const auto narrow = in_slices(logits, targets, 4, slope, 12);
  EXPECT_EQ(narrow.loss.scalar_type(), at::kFloat);
  EXPECT_EQ(narrow.gradient.scalar_type(), at::kBFloat16);
  expect_close(narrow.loss, exact.loss, 1e-6);
  expect_close_relative(narrow.gradient, exact.gradient, 0x1p-8);
}

}  // namespace
}  // namespace megalith::testing

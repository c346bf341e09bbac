// Comparing tensors, and derivatives by finite differences.
//
// A failure prints the worst element, its place and both values. Tolerances are one number with one
// meaning, stated at expect_close. For equality to the last bit there is expect_equal.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <source_location>
#include <string>
#include <vector>

namespace megalith::testing {

/// Fails unless shapes are equal and every |actual - expected| <= tolerance * max(1, m), where m is
/// the largest finite |expected|: "absolute, or relative to the tensor's largest element". Infinite
/// elements must be the same, NaN is never close. Compares in double.
void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                  const std::string& what = "",
                  std::source_location where = std::source_location::current());

/// As expect_close with tolerance * m alone, for tensors whose elements are all small.
void expect_close_relative(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                           const std::string& what = "",
                           std::source_location where = std::source_location::current());

/// Fails unless shape, dtype and every element are the same, bit for bit.
void expect_equal(const at::Tensor& actual, const at::Tensor& expected,
                  const std::string& what = "",
                  std::source_location where = std::source_location::current());

using Function = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

/// Fails unless autograd's gradients of sum(w * function(inputs)), w fixed pseudo-random, agree
/// with central differences within `tolerance` (as expect_close). `inputs`: double; those that
/// require a gradient are checked. `function` must be deterministic; on several ranks all must call
/// with the same inputs, and what it returns must be the same on all.
void expect_gradients(const Function& function, const std::vector<at::Tensor>& inputs,
                      double tolerance = 1e-7, double step = 1e-5,
                      std::source_location where = std::source_location::current());

/// N(0, 1) in double by a generator of its own.
at::Tensor normal(std::vector<int64_t> shape, uint64_t seed);
/// Integers in [0, bound), int64.
at::Tensor integers(std::vector<int64_t> shape, int64_t bound, uint64_t seed);

}  // namespace megalith::testing

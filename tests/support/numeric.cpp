#include "support/numeric.hpp"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "megalith/core/error.hpp"

namespace megalith::testing {
namespace {

void fail_at(const std::source_location& where, const std::string& message) {
  ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line())) << message;
}

std::vector<int64_t> place_of(int64_t flat, at::IntArrayRef sizes) {
  std::vector<int64_t> place(sizes.size());
  for (size_t dim = sizes.size(); dim-- > 0;) {
    place[dim] = flat % sizes[dim];
    flat /= sizes[dim];
  }
  return place;
}

at::Tensor exact(const at::Tensor& x) {
  return x.detach().to(at::kCPU).to(at::kDouble).contiguous();
}

void compare(const at::Tensor& actual, const at::Tensor& expected, double tolerance, double floor,
             const std::string& what, const std::source_location& where) {
  const std::string prefix = what.empty() ? "" : what + ": ";
  if (!actual.defined() || !expected.defined()) {
    fail_at(where, fmt::format("{}actual is {}, expected is {}", prefix,
                               actual.defined() ? "defined" : "undefined",
                               expected.defined() ? "defined" : "undefined"));
    return;
  }
  if (actual.sizes() != expected.sizes()) {
    fail_at(where, fmt::format("{}shape [{}], expected [{}]", prefix,
                               fmt::join(actual.sizes(), ", "), fmt::join(expected.sizes(), ", ")));
    return;
  }
  const at::Tensor a = exact(actual), e = exact(expected);
  const double* const x = a.const_data_ptr<double>();
  const double* const y = e.const_data_ptr<double>();
  double largest = floor, worst = -1;
  int64_t worst_at = 0;
  for (int64_t i = 0; i < e.numel(); ++i) {
    if (std::isfinite(y[i])) largest = std::max(largest, std::abs(y[i]));
    const double difference = x[i] == y[i] ? 0.0 : std::abs(x[i] - y[i]);
    const double badness = std::isnan(difference) ? INFINITY : difference;
    if (badness > worst) {
      worst = badness;
      worst_at = i;
    }
  }
  if (worst <= tolerance * largest) return;
  fail_at(where,
          fmt::format("{}worst element [{}]: {:.17g}, expected {:.17g}, difference {:.3g}; allowed "
                      "{:.3g} = {:g} x {:.3g}",
                      prefix, fmt::join(place_of(worst_at, e.sizes()), ", "), x[worst_at],
                      y[worst_at], worst, tolerance * largest, tolerance, largest));
}

}  // namespace

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                  const std::string& what, std::source_location where) {
  compare(actual, expected, tolerance, 1.0, what, where);
}

void expect_close_relative(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                           const std::string& what, std::source_location where) {
  compare(actual, expected, tolerance, 0.0, what, where);
}

void expect_equal(const at::Tensor& actual, const at::Tensor& expected, const std::string& what,
                  std::source_location where) {
  if (actual.scalar_type() != expected.scalar_type()) {
    fail_at(where, fmt::format("{}{} instead of {}", what.empty() ? "" : what + ": ",
                               c10::toString(actual.scalar_type()),
                               c10::toString(expected.scalar_type())));
    return;
  }
  compare(actual, expected, 0.0, 0.0, what, where);
}

void expect_gradients(const Function& function, const std::vector<at::Tensor>& inputs,
                      double tolerance, double step, std::source_location where) {
  std::vector<at::Tensor> leaves;
  for (const auto& input : inputs) {
    leaves.push_back(input.detach().clone().set_requires_grad(input.requires_grad()));
  }
  const at::Tensor output = function(leaves);
  const at::Tensor weights = normal(output.sizes().vec(), 7);
  (output * weights).sum().backward();

  const at::NoGradGuard no_grad;
  const auto value = [&] { return (function(leaves) * weights).sum().item<double>(); };
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (!leaves[i].requires_grad()) continue;
    at::Tensor flat = leaves[i].view({-1});
    const at::Tensor slopes = at::zeros_like(flat);
    for (int64_t k = 0; k < flat.numel(); ++k) {
      const double middle = flat[k].item<double>();
      flat[k].fill_(middle + step);
      const double above = value();
      flat[k].fill_(middle - step);
      const double below = value();
      flat[k].fill_(middle);
      slopes[k].fill_((above - below) / (2 * step));
    }
    expect_close(leaves[i].grad(), slopes.view(leaves[i].sizes()), tolerance,
                 fmt::format("gradient of input {}", i), where);
  }
}

at::Tensor normal(std::vector<int64_t> shape, uint64_t seed) {
  return at::empty(shape, at::kDouble)
      .normal_(0.0, 1.0, at::make_generator<at::CPUGeneratorImpl>(seed));
}

at::Tensor integers(std::vector<int64_t> shape, int64_t bound, uint64_t seed) {
  return at::empty(shape, at::kLong)
      .random_(0, bound, at::make_generator<at::CPUGeneratorImpl>(seed));
}

}  // namespace megalith::testing

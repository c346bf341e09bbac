// Adam and SGD over many steps against torch.optim (tests/oracles/optimizer_reference.py).
#include "megalith/ops/adam.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "megalith/core/error.hpp"
#include "support/golden.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

/// Runs one case of the golden file in `dtype`. `power`: gradients are multiplied by 2^power and
/// the scale divided by it, which must not matter.
void check_case(const nlohmann::json& golden, const nlohmann::json& one, at::ScalarType dtype,
                double tolerance, int power) {
  const bool is_adam = one.at("kind") == "adam";
  const double scale = one.at("scale").get<double>() * std::exp2(-power);
  at::Tensor parameter = doubles(golden.at("start")).to(dtype);
  at::Tensor first = at::zeros_like(parameter), second = at::zeros_like(parameter);
  const int64_t steps = static_cast<int64_t>(golden.at("gradients").size());
  for (int64_t i = 0; i < steps; ++i) {
    const at::Tensor gradient = (doubles(golden.at("gradients")[i]) * std::exp2(power)).to(dtype);
    const double rate = golden.at("learning_rates")[i];
    if (is_adam) {
      at::Tensor none;
      ops::adam_update(parameter, gradient, first, second, none,
                       {rate, one.at("betas")[0], one.at("betas")[1], one.at("epsilon"),
                        one.at("weight_decay"), i + 1, scale});
    } else {
      ops::sgd_update(parameter, gradient, first,
                      {rate, one.at("momentum"), one.at("weight_decay"), scale, i == 0});
    }
    const int64_t every = golden.at("every");
    if (i % every == 0) {
      expect_close(parameter, doubles(one.at("parameters")[i / every]), tolerance,
                   fmt::format("{} after {} steps", one.at("kind").get<std::string>(), i + 1));
    }
  }
}

TEST(OptimizerOps, SixtyStepsEqualPyTorchInDouble) {
  const auto golden = read_golden_json("optimizer_reference.json");
  for (const auto& one : golden.at("cases")) {
    for (const int power : {0, 16}) check_case(golden, one, at::kDouble, 1e-12, power);
  }
}

TEST(OptimizerOps, SixtyStepsStayNearInSinglePrecision) {
  const auto golden = read_golden_json("optimizer_reference.json");
  for (const auto& one : golden.at("cases")) {
    // SGD carries the huge gradients into the parameters and back: more digits are lost on the way.
    const double tolerance = one.at("kind") == "adam" ? 2e-6 : 1e-5;
    for (const int power : {0, 16}) check_case(golden, one, at::kFloat, tolerance, power);
  }
}

/// The gradient's buffer is reused: nothing may happen to it.
TEST(OptimizerOps, GradientIsLeftAlone) {
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    at::Tensor parameter = normal({100}, 1).to(dtype), gradient = normal({100}, 2).to(dtype);
    at::Tensor first = at::zeros_like(parameter), second = at::zeros_like(parameter), none;
    const at::Tensor before = gradient.clone();
    ops::sgd_update(parameter, gradient, first, {0.1, 0.9, 0.1, 0.5, true});
    expect_equal(gradient, before, "sgd");
    ops::adam_update(parameter, gradient, first, second, none,
                     {0.1, 0.9, 0.999, 1e-8, 0.1, 1, 0.5});
    expect_equal(gradient, before, "adam");
  }
}

/// Long enough for several threads and for a rest after whole vectors.
TEST(OptimizerOps, RoundedCopyIsTheParameterRounded) {
  at::Tensor parameter = normal({40'003}, 1).to(at::kFloat), first = at::zeros_like(parameter),
             second = at::zeros_like(parameter), expected = parameter.clone(), none,
             rounded = at::empty_like(parameter, at::kBFloat16);
  at::Tensor first2 = first.clone(), second2 = second.clone();
  const at::Tensor gradient = normal({40'003}, 2).to(at::kFloat);
  const ops::AdamStep step{0.1, 0.9, 0.999, 1e-8, 0.1, 1, 0.5};
  ops::adam_update(parameter, gradient, first, second, rounded, step);
  ops::adam_update(expected, gradient, first2, second2, none, step);
  expect_equal(parameter, expected);
  expect_equal(rounded, expected.to(at::kBFloat16));
}

}  // namespace
}  // namespace megalith::testing

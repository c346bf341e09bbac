// The linear operators against autograd and finite differences of at::linear.
#include "megalith/ops/linear.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

TEST(LinearOps, ForwardIsTheMatrixProduct) {
  const at::Tensor x = normal({3, 2, 5}, 1), weight = normal({4, 5}, 2), bias = normal({4}, 3);
  const at::Tensor product = at::einsum("sbi,oi->sbo", {x, weight});
  expect_close(ops::linear(x, weight, {}), product, 1e-14);
  expect_close(ops::linear(x, weight, bias), product + bias, 1e-14);
}

TEST(LinearOps, GradientsEqualAutograd) {
  const at::Tensor x = normal({3, 2, 5}, 1).set_requires_grad(true);
  const at::Tensor weight = normal({4, 5}, 2).set_requires_grad(true);
  const at::Tensor bias = normal({4}, 3).set_requires_grad(true);
  const at::Tensor slope = normal({3, 2, 4}, 4);
  (at::linear(x, weight, bias) * slope).sum().backward();
  expect_close(ops::linear_input_gradient(slope, weight.detach()), x.grad(), 1e-14);
  expect_close(ops::linear_weight_gradient(slope, x.detach()), weight.grad(), 1e-14);
  expect_close(ops::linear_bias_gradient(slope), bias.grad(), 1e-14);
}

TEST(LinearOps, TakeTransposedViews) {
  const at::Tensor x = normal({2, 3, 5}, 1), slope = normal({2, 3, 4}, 4),
                   weight = normal({4, 5}, 2);
  const auto turned = [](const at::Tensor& t) { return t.transpose(0, 1); };
  expect_close(ops::linear_weight_gradient(turned(slope), turned(x)),
               ops::linear_weight_gradient(slope, x), 1e-14);
  expect_close(ops::linear_bias_gradient(turned(slope)), ops::linear_bias_gradient(slope), 1e-14);
  expect_close(turned(ops::linear(turned(x), weight, {})), ops::linear(x, weight, {}), 1e-14);
}

/// fp32 goes another way than double: against double, rows and columns that fill no vector.
TEST(LinearOps, SinglePrecisionStaysNearTheExactProducts) {
  const at::Tensor x = normal({3, 7, 65}, 1), weight = normal({33, 65}, 2), bias = normal({33}, 3);
  const at::Tensor slope = normal({3, 7, 33}, 4);
  const auto narrow = [](const at::Tensor& t) { return t.to(at::kFloat); };
  expect_close(ops::linear(narrow(x), narrow(weight), narrow(bias)), ops::linear(x, weight, bias),
               1e-6);
  expect_close(ops::linear(narrow(x), narrow(weight), {}), ops::linear(x, weight, {}), 1e-6);
  expect_close(ops::linear_input_gradient(narrow(slope), narrow(weight)),
               ops::linear_input_gradient(slope, weight), 1e-6);
  expect_close(ops::linear_weight_gradient(narrow(slope), narrow(x)),
               ops::linear_weight_gradient(slope, x), 1e-6);
  const at::Tensor one_row = narrow(x[0][0]);
  expect_close(ops::linear(one_row, narrow(weight), narrow(bias)),
               ops::linear(x[0][0], weight, bias), 1e-6);
}

/// More rows than are taken at once; the sum keeps what was there, in the gradient's own dtype.
TEST(LinearOps, WeightGradientIsAddedToWhatIsThere) {
  const int64_t rows = 40'000;
  const at::Tensor x = normal({2, 1, 64}, 1), slope = normal({2, 1, rows}, 2);
  const at::Tensor start = normal({rows, 64}, 3);
  const at::Tensor expected = start + ops::linear_weight_gradient(slope, x);
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kDouble, 1e-14}, {at::kFloat, 1e-6}, {at::kBFloat16, 2e-2}}) {
    const auto exact = dtype == at::kDouble ? at::kDouble : at::kFloat;
    at::Tensor gradient = start.to(exact, /*non_blocking=*/false, /*copy=*/true);
    ops::add_linear_weight_gradient(gradient, slope.to(dtype), x.to(dtype));
    EXPECT_EQ(gradient.scalar_type(), exact);
    expect_close(gradient, expected, tolerance);
  }
}

}  // namespace
}  // namespace megalith::testing

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

}  // namespace
}  // namespace megalith::testing

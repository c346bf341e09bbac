// The paper's f and g: forward, backward, and finite differences of a region between them.
#include "megalith/parallel/mappings.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/numeric.hpp"
#include "support/ranks.hpp"

namespace megalith::testing {
namespace {

class Mappings : public ::testing::TestWithParam<int64_t> {};

TEST_P(Mappings, CopyIsIdentityForwardAndSumsGradientsBackward) {
  run_ranks({.tensor = GetParam()}, [&](RankContext& ctx) {
    const double size = double(GetParam());
    at::Tensor x = at::full({2, 3}, 3.0, at::kDouble).set_requires_grad(true);
    const at::Tensor y = copy_to_tensor_region(x, ctx.groups().tensor());
    (y * double(ctx.rank() + 1)).sum().backward();
    expect_equal(y, x);
    expect_equal(x.grad(), at::full({2, 3}, size * (size + 1) / 2, at::kDouble));
  });
}

TEST_P(Mappings, ReduceSumsForwardAndIsIdentityBackward) {
  run_ranks({.tensor = GetParam()}, [&](RankContext& ctx) {
    const double size = double(GetParam());
    at::Tensor x = at::full({2, 3}, double(ctx.rank() + 1), at::kDouble).set_requires_grad(true);
    const at::Tensor y = reduce_from_tensor_region(x, ctx.groups().tensor());
    (y * 7).sum().backward();
    expect_equal(y, at::full({2, 3}, size * (size + 1) / 2, at::kDouble));
    expect_equal(x, at::full({2, 3}, double(ctx.rank() + 1), at::kDouble));
    expect_equal(x.grad(), at::full({2, 3}, 7.0, at::kDouble));
  });
}

/// Gradients that autograd hands over as expanded or transposed views are summed all the same.
TEST_P(Mappings, GradientsNeedNotBeContiguous) {
  run_ranks({.tensor = GetParam()}, [&](RankContext& ctx) {
    at::Tensor x = normal({3, 2}, 1).set_requires_grad(true);
    const at::Tensor weights = normal({2, 3}, 2);
    (copy_to_tensor_region(x, ctx.groups().tensor()).t() * weights).sum().backward();
    expect_close(x.grad(), weights.t() * GetParam(), 1e-14);
  });
}

/// Each rank works on its own slice between f and g; all see the same input and output.
TEST_P(Mappings, RegionBetweenCopyAndReduceHasTheRightGradient) {
  run_ranks({.tensor = GetParam()}, [&](RankContext& ctx) {
    const auto& group = ctx.groups().tensor();
    const auto region = [&](const std::vector<at::Tensor>& inputs) {
      const at::Tensor inside = copy_to_tensor_region(inputs[0], group);
      return reduce_from_tensor_region((inside * double(1 + ctx.rank())).sin(), group);
    };
    expect_gradients(region, {normal({2, 3}, 4).set_requires_grad(true)});
  });
}
INSTANTIATE_TEST_SUITE_P(TensorSizes, Mappings, ::testing::Values(1, 2, 4));

}  // namespace
}  // namespace megalith::testing

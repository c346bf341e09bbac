// Transposed matrices copied by blocks: ATen's own copy, bit for bit.
#include "megalith/ops/transpose.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

using ops::contiguous_copy;
using ops::copy_into;

TEST(ContiguousCopy, IsAtensCopyOfEveryTypeAndShape) {
  for (const auto dtype : {at::kByte, at::kHalf, at::kBFloat16, at::kFloat, at::kDouble}) {
    for (const auto& shape : std::vector<std::vector<int64_t>>{
             {1, 1}, {3, 5}, {64, 32}, {65, 33}, {300, 129}, {1, 70}, {70, 1}, {0, 4}, {4, 0}}) {
      const at::Tensor wide = integers(shape, 200, 7).to(dtype);
      expect_equal(contiguous_copy(wide.t()), wide.t().contiguous(), "transposed");
      EXPECT_TRUE(contiguous_copy(wide.t()).is_contiguous());
      expect_equal(contiguous_copy(wide), wide, "as it is");
    }
  }
}

/// As the parts of a fused query, key and value are cut.
TEST(ContiguousCopy, TakesColumnsOfAWiderMatrix) {
  const at::Tensor wide = normal({130, 210}, 3).to(at::kFloat);
  for (const int64_t first : {0, 1, 70, 140}) {
    const at::Tensor part = wide.t().narrow(0, first, 70);
    expect_equal(contiguous_copy(part), part.contiguous());
  }
  const at::Tensor rows = wide.narrow(1, 3, 50);
  expect_equal(contiguous_copy(rows), rows.contiguous(), "rows with gaps");
}

TEST(CopyInto, FillsColumnsOfAWiderMatrix) {
  const at::Tensor parts = normal({210, 130}, 4).to(at::kFloat);
  at::Tensor joined = at::zeros({130, 250}), expected = joined.clone();
  for (const int64_t first : {0, 70, 140}) {
    const at::Tensor part = parts.narrow(0, first, 70);
    copy_into(joined.t().narrow(0, first + 20, 70), part);
    expected.t().narrow(0, first + 20, 70).copy_(part);
  }
  expect_equal(joined, expected);
  const at::Tensor row = normal({1, 9}, 6).to(at::kFloat);
  at::Tensor target = at::zeros({9, 4});
  copy_into(target.t(), row.expand({4, 9}));
  expect_equal(target, row.expand({4, 9}).t().contiguous(), "stride 0");
  EXPECT_ANY_THROW(copy_into(target, row));
}

TEST(ContiguousCopy, LeavesOtherTensorsToAten) {
  const at::Tensor cube = normal({4, 5, 6}, 5);
  expect_equal(contiguous_copy(cube.permute({2, 0, 1})), cube.permute({2, 0, 1}).contiguous());
  const at::Tensor row = normal({1, 9}, 6);
  expect_equal(contiguous_copy(row.expand({4, 9})), row.expand({4, 9}).contiguous());
  expect_equal(contiguous_copy(row.view({9, 1}).expand({9, 4}).t()),
               row.view({9, 1}).expand({9, 4}).t().contiguous(), "stride 0");
  EXPECT_EQ(contiguous_copy(cube).data_ptr(), cube.data_ptr());
}

}  // namespace
}  // namespace megalith::testing

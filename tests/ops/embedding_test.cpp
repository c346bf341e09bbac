// The gradient of an embedding against PyTorch's, added to what is there.
#include "megalith/ops/embedding.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

TEST(EmbeddingOps, GradientIsAddedRowByRow) {
  const at::Tensor ids = integers({5, 9}, 11, 1), rows = normal({5, 9, 130}, 2);
  const at::Tensor start = normal({11, 130}, 3);
  const auto exact_rows = [&](at::ScalarType dtype) { return rows.to(dtype).to(at::kDouble); };
  for (const auto& [dtype, tolerance] : {std::pair{at::kDouble, 1e-14},
                                         {at::kFloat, 1e-6},
                                         {at::kBFloat16, 1e-6},
                                         {at::kHalf, 1e-6}}) {
    at::Tensor table = start.to(dtype == at::kDouble ? at::kDouble : at::kFloat, false, true);
    ops::add_embedding_gradient(table, rows.to(dtype), ids);
    expect_close(table, start + at::embedding_dense_backward(exact_rows(dtype), ids, 11, -1, false),
                 tolerance);
  }
}

/// The order of the sum is that of the ids.
TEST(EmbeddingOps, SameBitsForAnyNumberOfThreads) {
  const at::Tensor ids = integers({200}, 3, 1), rows = normal({200, 256}, 2).to(at::kFloat);
  at::Tensor one = at::zeros({3, 256}), two = at::zeros({3, 256});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  ops::add_embedding_gradient(one, rows, ids);
  at::set_num_threads(2);
  ops::add_embedding_gradient(two, rows, ids);
  at::set_num_threads(threads);
  expect_equal(one, two);
}

}  // namespace
}  // namespace megalith::testing

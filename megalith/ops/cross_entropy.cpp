#include "megalith/ops/cross_entropy.hpp"

#include <ATen/ATen.h>

namespace megalith::ops {
namespace {

at::ScalarType exact_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// Column of each target in the slice (0 outside it) and whether it lies inside.
std::pair<at::Tensor, at::Tensor> local_columns(const at::Tensor& targets, int64_t first,
                                                int64_t columns) {
  const at::Tensor inside = targets.ge(first).logical_and_(targets.lt(first + columns));
  return {(targets - first).masked_fill_(inside.logical_not(), 0), inside};
}

}  // namespace

at::Tensor row_max(const at::Tensor& logits) { return logits.amax(-1).to(exact_type(logits)); }

at::Tensor shifted_exponentials(const at::Tensor& logits, const at::Tensor& maximum,
                                at::Tensor& sums) {
  at::Tensor exponentials = (logits.to(exact_type(logits)) - maximum.unsqueeze(-1)).exp_();
  sums = exponentials.sum(-1);
  return exponentials;
}

at::Tensor target_logits(const at::Tensor& logits, const at::Tensor& targets, int64_t first,
                         const at::Tensor& maximum) {
  const auto [columns, inside] = local_columns(targets, first, logits.size(-1));
  const at::Tensor picked = logits.gather(-1, columns.unsqueeze(-1)).squeeze(-1);
  return (picked.to(maximum.scalar_type()) - maximum).masked_fill_(inside.logical_not(), 0);
}

at::Tensor cross_entropy_gradient(at::Tensor exponentials, const at::Tensor& sums,
                                  const at::Tensor& targets, int64_t first,
                                  const at::Tensor& loss_gradient, at::ScalarType dtype) {
  const auto [columns, inside] = local_columns(targets, first, exponentials.size(-1));
  exponentials.mul_((loss_gradient / sums).unsqueeze(-1));
  exponentials.scatter_add_(-1, columns.unsqueeze(-1),
                            (-loss_gradient * inside).to(exponentials.scalar_type()).unsqueeze(-1));
  return exponentials.to(dtype);
}

}  // namespace megalith::ops

// The gradient of an embedding, added to rows of a large table.
#pragma once

#include <ATen/core/Tensor.h>

namespace megalith::ops {

/// table[ids[i]] += rows[i], in the order of i whatever the number of threads. `table` [V, H] in
/// fp32 or double, `rows` [..., H] of any floating type, `ids` [...].
void add_embedding_gradient(at::Tensor& table, const at::Tensor& rows, const at::Tensor& ids);

}  // namespace megalith::ops

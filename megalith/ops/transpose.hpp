// A tensor's elements one after another, also where it is a transposed view of a file's matrix.
//
// Conversions turn every matrix of GPT-2 around: element by element that costs a cache line each.
// Here a block is read row by row and written row by row. Bits are moved, never changed.
#pragma once

#include <ATen/core/Tensor.h>

namespace megalith::ops {

/// target.copy_(source) of equal shapes and types. Where one of them is a transposed matrix on the
/// CPU (also a run of a wider one's columns) and the other is not, by blocks on all threads.
void copy_into(at::Tensor target, const at::Tensor& source);

/// What Tensor::contiguous() gives: the tensor itself where its elements lie in order, else a copy
/// by copy_into().
at::Tensor contiguous_copy(const at::Tensor& tensor);

}  // namespace megalith::ops

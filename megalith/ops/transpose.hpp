// A tensor's elements one after another, also where it is a transposed view of a file's matrix.
//
// Conversions turn every matrix of GPT-2 around: element by element that costs a cache line each.
// Here a block is read row by row and written row by row. Bits are moved, never changed.
#pragma once

#include <ATen/core/Tensor.h>

namespace megalith::ops {

/// What Tensor::contiguous() gives: the tensor itself where its elements lie in order, else a copy.
/// Transposed matrices on the CPU, also a run of a wider matrix's columns, are copied by blocks on
/// all threads.
at::Tensor contiguous_copy(const at::Tensor& tensor);

}  // namespace megalith::ops

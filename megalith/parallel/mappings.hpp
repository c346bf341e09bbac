// The paper's f and g (section 3, figure 3) as differentiable functions.
//
// f enters a tensor-parallel region and g leaves it. The matrix products that contain them, with
// the backward all-reduce of f beside the weight gradient, are in layers/parallel_linear.hpp; f and
// g stand alone for the rest. Groups of one rank send nothing.
#pragma once

#include <ATen/core/Tensor.h>

#include "megalith/parallel/process_groups.hpp"

namespace megalith {

/// The paper's f. Forward: identity. Backward: sum over the tensor group.
/// Communicates: `tensor`, backward only, every rank must take part.
at::Tensor copy_to_tensor_region(const at::Tensor& input, const Group& tensor);

/// The paper's g. Forward: sum over the tensor group. Backward: identity.
/// Communicates: `tensor`, forward only, every rank must take part.
at::Tensor reduce_from_tensor_region(const at::Tensor& input, const Group& tensor);

}  // namespace megalith

// Activation recomputation: keep a function's inputs, run it again in backward.
//
// Bit for bit the same as without, dropout included, because random streams are keys (random.hpp)
// and nothing has to be restored.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace megalith {

using TensorFunction = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

/// function(inputs), saving only `inputs`. At least one input must require a gradient. What the
/// function communicates in forward it communicates again in backward.
at::Tensor recompute(const TensorFunction& function, const std::vector<at::Tensor>& inputs);

}  // namespace megalith

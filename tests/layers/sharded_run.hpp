// One layer on any tensor size: outputs, input gradient, parameter gradients and traffic.
//
// A test gives a builder of the layer and its inputs; the layer's weights are random_globals, so
// they do not depend on the tensor size.
#pragma once

#include <functional>
#include <vector>

#include "megalith/parallel/parameter.hpp"
#include "support/global_tensors.hpp"
#include "support/ranks.hpp"

namespace megalith::testing {

/// Builds the layer and gives its forward.
using LayerBuilder = std::function<std::function<at::Tensor(const at::Tensor&)>(
    const ParameterBuilder&, const ProcessGroups&)>;

struct LayerRun {
  at::Tensor output, input_gradient;  // of tensor rank 0; equal on all
  TensorMap gradients;                // of global tensors
  Traffic traffic;                    // of rank 0
};

/// Forward, then backward of sum(output * slope), where slope is a fixed normal. Fails unless
/// output and input gradient are the same bits on every tensor rank.
LayerRun run_layer(const LayerBuilder& build, int64_t tensor_size, const at::Tensor& input,
                   double weight_scale = 0.3);

}  // namespace megalith::testing

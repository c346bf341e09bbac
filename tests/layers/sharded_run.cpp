#include "layers/sharded_run.hpp"

#include <ATen/ATen.h>

#include "support/numeric.hpp"

namespace megalith::testing {

LayerRun run_layer(const LayerBuilder& build, int64_t tensor_size, const at::Tensor& input,
                   double weight_scale) {
  TensorMap globals;
  {
    ParameterList whole;
    build(ParameterBuilder(whole, at::kDouble, at::kCPU, 1, 0, 1), ProcessGroups());
    globals = random_globals(whole, weight_scale);
  }
  std::vector<at::Tensor> outputs(tensor_size), input_gradients(tensor_size);
  GlobalTensors gradients;
  LayerRun run;
  run_ranks({.tensor = tensor_size}, [&](RankContext& ctx) {
    ParameterList parameters;
    const auto forward =
        build(ParameterBuilder(parameters, at::kDouble, at::kCPU, 1, ctx.rank(), tensor_size),
              ctx.groups());
    load_slices(parameters, globals);
    const at::Tensor x = input.detach().clone().set_requires_grad(input.is_floating_point());
    const at::Tensor output = forward(x);
    (output * normal(output.sizes().vec(), 99)).sum().backward();
    outputs[ctx.rank()] = output.detach();
    input_gradients[ctx.rank()] = x.grad();
    gradients.add_gradients(parameters);
    if (ctx.rank() == 0) run.traffic = *ctx.groups().traffic();
  });
  for (int64_t rank = 1; rank < tensor_size; ++rank) {
    expect_equal(outputs[rank], outputs[0], fmt::format("output of rank {}", rank));
    if (input_gradients[0].defined()) {
      expect_equal(input_gradients[rank], input_gradients[0],
                   fmt::format("input gradient of rank {}", rank));
    }
  }
  run.output = outputs[0];
  run.input_gradient = input_gradients[0];
  run.gradients = gradients.take();
  return run;
}

}  // namespace megalith::testing

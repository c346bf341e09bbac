// Column- and row-parallel linear layers against the dense formulas, their initial weights and
// traffic (sizes of the paper's own test_layers.py).
#include "megalith/layers/parallel_linear.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "layers/sharded_run.hpp"
#include "megalith/parallel/mappings.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

constexpr double kExact = 1e-12;

/// Column-parallel then row-parallel, as in the MLP: whole in, whole out.
LayerBuilder column_then_row(bool bias) {
  return [bias](const ParameterBuilder& builder, const ProcessGroups& groups) {
    const ColumnParallelLinear column(builder, "column", 13, {{"a", 16}, {"b", 24}}, bias,
                                      Init::normal(1), groups.tensor());
    const RowParallelLinear row(builder, "row", 40, 7, bias, Init::normal(1), groups.tensor());
    return [column, row](const at::Tensor& x) { return row.forward(column.forward(x)); };
  };
}

/// The same by dense matrices and the formulas of the gradients, no autograd.
struct Dense {
  at::Tensor output, input_gradient;
  TensorMap gradients;
};

Dense dense_column_then_row(const at::Tensor& x, const TensorMap& w, const at::Tensor& slope,
                            bool bias) {
  // The local layout is [a's share, b's share] on each rank; globally the row's columns follow it,
  // so the dense product is only defined rank by rank: use it at tensor size 1.
  const at::Tensor first = at::cat({w.at("a.weight"), w.at("b.weight")});
  at::Tensor middle = at::matmul(x, first.t());
  if (bias) middle = middle + at::cat({w.at("a.bias"), w.at("b.bias")});
  Dense dense;
  dense.output = at::matmul(middle, w.at("row.weight").t());
  if (bias) dense.output = dense.output + w.at("row.bias");
  const at::Tensor flat_slope = slope.reshape({-1, 7}), flat_x = x.reshape({-1, 13});
  const at::Tensor middle_slope = at::mm(flat_slope, w.at("row.weight"));
  dense.input_gradient = at::mm(middle_slope, first).view(x.sizes());
  const at::Tensor first_gradient = at::mm(middle_slope.t(), flat_x);
  dense.gradients = {{"row.weight", at::mm(flat_slope.t(), middle.reshape({-1, 40}))},
                     {"a.weight", first_gradient.narrow(0, 0, 16)},
                     {"b.weight", first_gradient.narrow(0, 16, 24)}};
  if (bias) {
    dense.gradients["row.bias"] = flat_slope.sum(0);
    dense.gradients["a.bias"] = middle_slope.narrow(1, 0, 16).sum(0);
    dense.gradients["b.bias"] = middle_slope.narrow(1, 16, 24).sum(0);
  }
  return dense;
}

TEST(ParallelLinear, SerialEqualsTheDenseFormulas) {
  for (const bool bias : {true, false}) {
    const at::Tensor x = normal({5, 3, 13}, 8);
    const LayerRun run = run_layer(column_then_row(bias), 1, x);
    ParameterList list;
    column_then_row(bias)(ParameterBuilder(list, at::kDouble, at::kCPU, 1, 0, 1), ProcessGroups());
    const Dense dense =
        dense_column_then_row(x, random_globals(list, 0.3), normal({5, 3, 7}, 99), bias);
    expect_close(run.output, dense.output, kExact);
    expect_close(run.input_gradient, dense.input_gradient, kExact);
    expect_close_maps(run.gradients, dense.gradients, kExact);
  }
}

/// A single part, so that the dense product is the same matrix whatever the tensor size.
LayerBuilder single_column_then_row(bool bias) {
  return [bias](const ParameterBuilder& builder, const ProcessGroups& groups) {
    const ColumnParallelLinear column(builder, "column", 13, {{"column", 40}}, bias,
                                      Init::normal(1), groups.tensor());
    const RowParallelLinear row(builder, "row", 40, 7, bias, Init::normal(1), groups.tensor());
    return [column, row](const at::Tensor& x) { return row.forward(column.forward(x)); };
  };
}

TEST(ParallelLinear, EveryTensorSizeEqualsSerial) {
  for (const bool bias : {true, false}) {
    const at::Tensor x = normal({5, 3, 13}, 8);
    const LayerRun serial = run_layer(single_column_then_row(bias), 1, x);
    for (const int64_t size : {2, 4, 8}) {
      const LayerRun parallel = run_layer(single_column_then_row(bias), size, x);
      expect_close(parallel.output, serial.output, kExact, "output");
      expect_close(parallel.input_gradient, serial.input_gradient, kExact, "input gradient");
      expect_close_maps(parallel.gradients, serial.gradients, kExact, "gradient of ");
      // g in the row's forward, f in the column's backward; nothing else.
      const auto& entry = parallel.traffic.entries.at("all_reduce tensor");
      EXPECT_EQ(parallel.traffic.entries.size(), 1u);
      EXPECT_EQ(entry.calls, 2);
      EXPECT_EQ(entry.bytes, 8 * (5 * 3 * 7 + 5 * 3 * 13));
    }
  }
}

TEST(ParallelLinear, GradientsEqualFiniteDifferencesOnTwoRanks) {
  run_ranks({.tensor = 2}, [](RankContext& ctx) {
    const auto& group = ctx.groups().tensor();
    const auto slice = [&](const at::Tensor& x, int64_t dim) {
      return x.chunk(2, dim)[ctx.rank()];
    };
    // Whole weights on every rank, cut inside, so that every input is the same on all ranks; f sums
    // the gradients of the parts.
    const auto whole = [&](const at::Tensor& x) { return copy_to_tensor_region(x, group); };
    const auto function = [&](const std::vector<at::Tensor>& in) {
      const at::Tensor hidden =
          column_parallel_linear(in[0], slice(whole(in[1]), 0), slice(whole(in[2]), 0), group);
      return row_parallel_linear(hidden.tanh(), slice(whole(in[3]), 1), in[4], group);
    };
    const std::vector<at::Tensor> inputs{normal({2, 2, 3}, 1), normal({4, 3}, 2), normal({4}, 3),
                                         normal({3, 4}, 4), normal({3}, 5)};
    for (const auto& input : inputs) input.set_requires_grad(true);
    expect_gradients(function, inputs);
  });
}

/// A frozen weight gets no gradient, and the input's gradient is still summed.
TEST(ParallelLinear, FrozenWeightsGetNoGradient) {
  run_ranks({.tensor = 2}, [](RankContext& ctx) {
    const at::Tensor x = normal({3, 4}, 1).set_requires_grad(true);
    const at::Tensor weight = normal({2, 4}, 2 + ctx.rank());
    column_parallel_linear(x, weight, {}, ctx.groups().tensor()).sum().backward();
    EXPECT_FALSE(weight.grad().defined());
    const at::Tensor both = (normal({2, 4}, 2) + normal({2, 4}, 3)).sum(0);
    expect_close(x.grad(), both.expand({3, 4}), kExact);
  });
}

TEST(ParallelLinear, InitialSlicesAreThoseOfTheMasterWeight) {
  const auto weights = [](int64_t size) {
    GlobalTensors globals;
    run_ranks({.tensor = size}, [&](RankContext& ctx) {
      ParameterList list;
      column_then_row(true)(ParameterBuilder(list, at::kFloat, at::kCPU, 12345, ctx.rank(), size),
                            ctx.groups());
      globals.add_values(list);
    });
    return globals.take();
  };
  const TensorMap master = weights(1);
  for (const int64_t size : {2, 4, 8}) expect_equal_maps(weights(size), master);
}

}  // namespace
}  // namespace megalith::testing

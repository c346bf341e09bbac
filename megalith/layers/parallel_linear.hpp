// Linear layers split over the tensor group: the paper's figure 3.
//
// ColumnParallelLinear multiplies by a slice of A's columns and leaves its output split;
// RowParallelLinear multiplies by a slice of B's rows and sums, adding its bias once, after the
// sum. Stored weights are [out, in], so the paper's columns are rows here.
#pragma once

#include <ATen/core/Tensor.h>

#include "megalith/parallel/parameter.hpp"
#include "megalith/parallel/process_groups.hpp"

namespace megalith {

/// f, then the product with this rank's rows of `weight`. input [..., I], weight [O/t, I], bias
/// [O/t] or undefined -> [..., O/t]. Communicates: `tensor`, backward only, beside the weight
/// gradient.
at::Tensor column_parallel_linear(const at::Tensor& input, const at::Tensor& weight,
                                  const at::Tensor& bias, const Group& tensor);

/// The product with this rank's columns of `weight`, then g, then the bias. input [..., I/t],
/// weight [O, I/t], bias [O] or undefined -> [..., O]. Communicates: `tensor`, forward only.
at::Tensor row_parallel_linear(const at::Tensor& input, const at::Tensor& weight,
                               const at::Tensor& bias, const Group& tensor);

/// input [..., I], weight [O, I], bias [O] or undefined -> [..., O], the same on every rank.
at::Tensor replicated_linear(const at::Tensor& input, const at::Tensor& weight,
                             const at::Tensor& bias);

/// Output features fused from several global tensors (query, key, value; gate, up), each split.
class ColumnParallelLinear {
 public:
  /// The parts' weights are named `part.name`.weight; with `bias` also `part.name`.bias.
  ColumnParallelLinear(const ParameterBuilder& parameters, const std::string& name,
                       int64_t input_size, const std::vector<ParameterBuilder::Part>& parts,
                       bool bias, Init init, const Group& tensor);
  /// [..., I] -> [..., O/t], the parts side by side. Communicates: tensor, backward.
  at::Tensor forward(const at::Tensor& input) const {
    return column_parallel_linear(input, weight_, bias_, tensor_);
  }

 private:
  Group tensor_;
  at::Tensor weight_, bias_;
};

/// Not split, with a bias: heads, which are small.
class ReplicatedLinear {
 public:
  ReplicatedLinear(const ParameterBuilder& parameters, const std::string& name, int64_t input_size,
                   int64_t output_size, Init init);
  /// [..., I] -> [..., O]
  at::Tensor forward(const at::Tensor& input) const {
    return replicated_linear(input, weight_, bias_);
  }

 private:
  at::Tensor weight_, bias_;
};

class RowParallelLinear {
 public:
  RowParallelLinear(const ParameterBuilder& parameters, const std::string& name, int64_t input_size,
                    int64_t output_size, bool bias, Init init, const Group& tensor);
  /// [..., I/t] -> [..., O], whole on every rank. Communicates: tensor, forward.
  at::Tensor forward(const at::Tensor& input) const {
    return row_parallel_linear(input, weight_, bias_, tensor_);
  }

 private:
  Group tensor_;
  at::Tensor weight_, bias_;
};

}  // namespace megalith

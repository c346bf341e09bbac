// A trainable tensor of this rank, what it is a slice of, and how it starts.
//
// Layers make parameters through ParameterBuilder at construction, so that no rank ever holds a
// whole weight; the flat list it fills is what the optimizer, the checkpoint and the tests work on.
// Order of the list: the order of construction, the same on every rank.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "megalith/parallel/shard_spec.hpp"

namespace megalith {

struct Parameter {
  std::string name;  // as in the list; the global tensors' names are in the boxes
  at::Tensor value;  // leaf in the compute dtype; requires_grad
  ShardSpec shard;
  bool weight_decay = true;  // not on biases and norms
  /// A replicated parameter of which each tensor rank's backward gives a part of the gradient: the
  /// gradient buffer sums it over the tensor group.
  bool partial_over_tensor = false;
};

using ParameterList = std::vector<Parameter>;

/// The gradient that a parameter holds room for already (a view of the gradient buffer, in its
/// dtype), or undefined. An operator's backward may add there itself, which saves a copy of every
/// weight, and then returns an undefined gradient to autograd.
at::Tensor main_gradient(const at::Tensor& parameter);

/// How a parameter starts.
struct Init {
  enum class Kind { kNormal, kZeros, kOnes } kind = Kind::kZeros;
  double std = 0.0;
  static Init normal(double std) { return {Kind::kNormal, std}; }
  static Init zeros() { return {Kind::kZeros, 0.0}; }
  static Init ones() { return {Kind::kOnes, 0.0}; }
};

class ParameterBuilder {
 public:
  /// Parameters go to `list`. Values are made on the CPU in fp32 (double when `dtype` is), then
  /// rounded to `dtype` and moved, so the precision does not change which model is started from.
  /// Without a seed nothing is drawn: for weights that are about to be loaded.
  ParameterBuilder(ParameterList& list, at::ScalarType dtype, at::Device device,
                   std::optional<int64_t> seed, int64_t tensor_rank, int64_t tensor_size);

  /// The same builder with `prefix` + "." before every name.
  ParameterBuilder scope(const std::string& prefix) const;

  /// What backward gives to the copies of a replicated parameter: the whole gradient each, or each
  /// a part of it (norms of heads, which are split).
  enum class Copies { kEqual, kPartial };
  /// The same on every tensor rank: global tensor `name` of `shape`.
  at::Tensor replicated(const std::string& name, std::vector<int64_t> shape, Init init,
                        bool weight_decay, Copies copies = Copies::kEqual) const;
  /// One contiguous share of `dim` of the global tensor for each tensor rank.
  at::Tensor split(const std::string& name, std::vector<int64_t> global_shape, int64_t dim,
                   Init init, bool weight_decay) const;
  /// Several global tensors, each split along dim 0, stacked into one local tensor `name`.
  struct Part {
    std::string name;
    int64_t global_rows;
  };
  /// `columns` < 0 makes vectors (biases).
  at::Tensor fused(const std::string& name, const std::vector<Part>& parts, int64_t columns,
                   Init init, bool weight_decay) const;
  /// Rows of a vocabulary padded to `padded_rows`; the padding rows are zero and in no box.
  at::Tensor vocabulary(const std::string& name, int64_t rows, int64_t padded_rows, int64_t columns,
                        Init init) const;

  int64_t tensor_rank() const { return tensor_rank_; }
  int64_t tensor_size() const { return tensor_size_; }
  at::Device device() const { return device_; }

 private:
  at::Tensor add(const std::string& name, std::vector<int64_t> local_shape, ShardSpec shard,
                 Init init, bool weight_decay) const;

  ParameterList* list_;
  at::ScalarType dtype_;
  at::Device device_;
  std::optional<int64_t> seed_;
  int64_t tensor_rank_, tensor_size_;
  std::string prefix_;
};

}  // namespace megalith

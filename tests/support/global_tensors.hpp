// Global tensors of a model, put together from the ranks' slices and cut into them, by ShardSpec.
//
// How a test compares a parallel run with a serial one: both give the same global tensors. Collects
// from thread ranks under a lock. Every element must come from some rank, and one that comes from
// several (replicated parameters) must be the same to the last bit.
#pragma once

#include <mutex>

#include "megalith/parallel/parameter.hpp"
#include "support/golden.hpp"

namespace megalith::testing {

class GlobalTensors {
 public:
  /// `local` lies as parameter.value does: the value itself, its gradient, a moment.
  void add(const Parameter& parameter, const at::Tensor& local);
  void add_values(const ParameterList& parameters);
  /// An undefined gradient counts as zero.
  void add_gradients(const ParameterList& parameters);

  /// By global name. Throws RunError when an element came from no rank.
  TensorMap take();

 private:
  struct Collected {
    at::Tensor value, filled;
  };
  std::mutex mutex_;
  std::map<std::string, Collected> tensors_;
};

/// Copies each parameter's slices out of `globals`; padding rows stay as they are.
void load_slices(ParameterList& parameters, const TensorMap& globals);

/// Normals for every global tensor of `parameters`, a function of name and shape: weights and
/// biases of std `scale`, norm weights (".weight" of one dim) around 1, so that no gradient hides
/// behind a zero or a one.
TensorMap random_globals(const ParameterList& parameters, double scale);

/// The same names, and each tensor as expect_close; `context` goes before the name.
void expect_close_maps(const TensorMap& actual, const TensorMap& expected, double tolerance,
                       const std::string& context = "");
/// The same to the last bit.
void expect_equal_maps(const TensorMap& actual, const TensorMap& expected,
                       const std::string& context = "");

}  // namespace megalith::testing

// Adam (or SGD) over main parameters, with the gradient norm and clipping of the whole model.
//
// Main parameters are fp32 copies where the model computes in bf16 or fp16, else the parameters
// themselves. The norm counts replicated parameters once and sums over the model group; a norm that
// is not finite skips the update (fp16's overflow). Knows parameters with their ShardSpec, no
// layers.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "megalith/core/fields.hpp"
#include "megalith/optimizer/gradient_buffer.hpp"
#include "megalith/parallel/parameter.hpp"

namespace megalith {

enum class OptimizerKind { kAdam, kSgd };

struct OptimizerConfig {
  OptimizerKind kind = OptimizerKind::kAdam;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double sgd_momentum = 0.9;
  double clip_grad = 1.0;

  FieldList fields();
};

/// One tensor of optimizer state and what it is a slice of, for checkpoints.
struct OptimizerState {
  std::string prefix;  // "optimizer.exp_avg.", "optimizer.main."
  at::Tensor tensor;
  const ShardSpec* shard;
};

class Optimizer {
 public:
  /// `parameters` and `gradients` must outlive the optimizer.
  Optimizer(ParameterList& parameters, GradientBuffer& gradients, const OptimizerConfig& config,
            const Group& model, bool counts_replicated);

  struct Result {
    bool updated = false;
    double gradient_norm = 0;         // before clipping, of the unscaled gradients
    std::string first_bad_parameter;  // when not updated: whose gradient is not finite
  };
  /// Clips and updates. `loss_scale` is divided out of the gradients first.
  /// Communicates: model (one number), every rank must call.
  Result step(double learning_rate, double weight_decay, double loss_scale);

  /// L2 norm of the gradients of the whole model. Communicates: model.
  double gradient_norm() const;
  /// L2 norm of the main parameters of the whole model. Communicates: model.
  double parameter_norm() const;

  std::vector<OptimizerState> state() const;
  int64_t num_updates() const { return num_updates_; }
  /// After the state's tensors were loaded: sets the count and rounds main parameters into the
  /// model's.
  void restore(int64_t num_updates);
  /// After the model's weights alone were loaded: takes them as main parameters.
  void adopt_parameters();

 private:
  double global_norm(const std::function<at::Tensor(size_t)>& tensor_of) const;
  std::string first_bad_parameter() const;
  void update(size_t index, double learning_rate, double weight_decay, double gradient_scale);

  ParameterList& parameters_;
  GradientBuffer& gradients_;
  OptimizerConfig config_;
  Group model_;
  bool counts_replicated_;
  bool separate_main_;
  std::vector<at::Tensor> main_, first_, second_;
  int64_t num_updates_ = 0;
};

}  // namespace megalith

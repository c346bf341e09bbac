// What a model must offer to be trained: parameters, the parts of its loss, its operations.
//
// The trainer, the checkpoint and the planner know this and nothing of GPT or BERT; gpt.hpp and
// bert.hpp implement it. A model is a replica's share of one rank: its parameters are slices.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "megalith/models/transformer.hpp"

namespace megalith {

/// What a batch asks for.
struct Targets {
  /// int64. Of tokens [B, S]; anything where the loss mask is 0. Of a task's examples [E]: the
  /// class, or the right one of the B / E sequences of an example; of spans [B, 2]: first and last
  /// place.
  at::Tensor labels;
  at::Tensor loss_mask = {};  // [S, B] fp32, as the token losses lie; of tokens
  /// Where the loss mask is not 0, at s · B + b, at least one (int64 [N]); or undefined: everywhere
  /// may be. For models that need no logits elsewhere.
  at::Tensor predicted = {};
  at::Tensor is_random = {};  // [B] int64: 1 where the parts of a pair were swapped; or undefined
};

/// One part of a micro-batch's loss: a sum, and over how many (each a scalar, fp32 or double). What
/// is trained on is the sum over the parts of sum / count.
struct LossPart {
  at::Tensor sum, count;
};

class Model {
 public:
  virtual ~Model() = default;

  /// The names of the parts, in the order of losses(), as the log has them: "lm loss" first.
  virtual std::vector<std::string> loss_names() const = 0;
  /// The parts of one micro-batch's loss, differentiable. Communicates: tensor, both.
  virtual std::vector<LossPart> losses(const ModelInput& input, const Targets& targets,
                                       LayerContext& context, const RecomputePlan& plan) const = 0;
  /// Floating point operations of forward and backward over `samples` sequences, in which the first
  /// part of the loss counted `predictions`; `seq_length` is the mean. Attention is not halved and
  /// recompute not counted: Korthikanti et al. (2022), equation 7, for the widths given.
  virtual double flops(int64_t samples, int64_t seq_length, double predictions) const = 0;

  const ModelConfig& config() const { return config_; }
  ParameterList& parameters() { return parameters_; }
  const ParameterList& parameters() const { return parameters_; }
  at::ScalarType dtype() const { return dtype_; }
  at::Device device() const { return device_; }

 protected:
  Model(const ModelConfig& config, const ProcessGroups& groups, at::ScalarType dtype,
        at::Device device);
  const Group& tensor() const { return tensor_; }
  /// Adds to parameters(), empty when there is no seed; not to be kept.
  ParameterBuilder builder(std::optional<int64_t> seed);

 private:
  ModelConfig config_;
  Group tensor_;
  at::ScalarType dtype_;
  at::Device device_;
  ParameterList parameters_;
};

/// The model that `config` describes: BERT when bidirectional, else GPT. Without a `seed` its
/// weights are for load_weights() to fill.
std::unique_ptr<Model> make_model(const ModelConfig& config, const ProcessGroups& groups,
                                  at::ScalarType dtype, at::Device device,
                                  std::optional<int64_t> seed);

/// Forward and backward of one token through all layers; for four-fold MLPs 72·L·h²·(1 + s/6h).
double layer_flops(const ModelConfig& config, int64_t seq_length);
/// Forward and backward of one token's logits over the padded vocabulary.
double logits_flops(const ModelConfig& config, int64_t tensor_size);

}  // namespace megalith

// One transformer layer (section 3, figures 2-4): norm, self attention, norm, MLP, with two
// all-reduces forward and two backward over the tensor group.
//
// The variants (norm kind, activation, biases, grouped queries, rotary positions) are fields of
// ModelConfig. Activations are [S, B, H]. What is not in the figure (masks, caches, dropout keys)
// comes in LayerContext.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "megalith/layers/model_config.hpp"
#include "megalith/layers/parallel_linear.hpp"
#include "megalith/parallel/parameter.hpp"
#include "megalith/parallel/random.hpp"

namespace megalith {

/// Keys and values of earlier positions of one layer, for generation: [positions, B, Akv/t, D].
struct KeyValueCache {
  at::Tensor keys, values;
};

/// What a forward needs besides activations. Cheap to copy: tensors are handles.
struct LayerContext {
  bool training = false;  // dropout on
  StepKey key;
  at::Tensor rotary;                  // angles [S, B, 1, R/2] or undefined
  std::optional<at::Tensor> visible;  // bool, broadcast to [B, A, S, Sk]: true where attention sees
  std::vector<KeyValueCache>* caches = nullptr;  // one a layer; then `visible` must be given
  at::Tensor cache_positions;                    // [S, B]: where new keys go in the caches
  bool recompute_attention = false;              // --recompute-granularity selective
};

class Norm {
 public:
  Norm() = default;
  /// Over the last dim, of `size`. `copies`: of the parameter, each with a share of the gradient
  /// (parallel/parameter.hpp).
  Norm(const ParameterBuilder& parameters, const std::string& name, int64_t size,
       const ModelConfig& config,
       ParameterBuilder::Copies copies = ParameterBuilder::Copies::kEqual);
  /// [..., size] -> [..., size]
  at::Tensor forward(const at::Tensor& input) const;

 private:
  at::Tensor weight_, bias_;
  double epsilon_ = 0;
};

class SelfAttention {
 public:
  SelfAttention(const ParameterBuilder& parameters, const ModelConfig& config, int64_t layer,
                const Group& tensor);
  /// [S, B, H] -> [S, B, H]. Communicates: tensor, both.
  at::Tensor forward(const at::Tensor& hidden, const LayerContext& context) const;

 private:
  at::Tensor core(const std::vector<at::Tensor>& query_key_value,
                  const LayerContext& context) const;
  ModelConfig config_;
  int64_t layer_, local_heads_, local_groups_;
  ColumnParallelLinear query_key_value_;
  std::optional<Norm> query_norm_, key_norm_;  // of each head, with --qk-layernorm
  RowParallelLinear projection_;
};

class Mlp {
 public:
  Mlp(const ParameterBuilder& parameters, const ModelConfig& config, const Group& tensor);
  /// [S, B, H] -> [S, B, H]. Communicates: tensor, both.
  at::Tensor forward(const at::Tensor& hidden) const;

 private:
  ModelConfig config_;
  ColumnParallelLinear first_;
  RowParallelLinear second_;
};

class TransformerLayer {
 public:
  /// `layer` is the global index; it names the parameters and keys the dropout.
  TransformerLayer(const ParameterBuilder& parameters, const ModelConfig& config, int64_t layer,
                   const Group& tensor);
  /// [S, B, H] -> [S, B, H]. Communicates: tensor, both, two all-reduces each way.
  at::Tensor forward(const at::Tensor& hidden, const LayerContext& context) const;

 private:
  double hidden_dropout_;
  int64_t layer_;
  Norm attention_norm_;
  SelfAttention attention_;
  Norm mlp_norm_;
  Mlp mlp_;
};

}  // namespace megalith

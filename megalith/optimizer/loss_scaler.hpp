// The loss scale of fp16 training: a constant, or a power of two that follows the overflows.
//
// Plain numbers, the same on every rank because every rank sees the same reduced overflow flag. It
// neither finds the overflow nor skips the step; the optimizer does. fp32 and bf16 train at
// scale 1. Growth and back-off as current Megatron-LM: the hysteresis is refilled by growth alone,
// so once it is used up every further overflow halves the scale.
#pragma once

#include <cstdint>
#include <optional>

#include "megalith/core/fields.hpp"

namespace megalith {

struct LossScaleConfig {
  std::optional<double> loss_scale;
  double initial_loss_scale = 4294967296.0;  // 2^32
  double min_loss_scale = 1.0;
  int64_t loss_scale_window = 1000;
  int64_t hysteresis = 2;

  FieldList fields();
  /// Reports what does not fit together; `fp16` is whether the run computes in fp16.
  void check(bool fp16, Problems& problems) const;
};

/// What a checkpoint holds of a loss scaler.
struct LossScalerState {
  double scale = 1;
  int64_t growth_tracker = 0;      // good steps since the last overflow or growth
  int64_t hysteresis_tracker = 0;  // overflows left before the scale is halved; may go below 0

  bool operator==(const LossScalerState&) const = default;
};

class LossScaler {
 public:
  /// Scale 1 for ever, for fp32 and bf16.
  LossScaler() = default;
  /// Static with --loss-scale, else dynamic, when `fp16`; scale 1 otherwise.
  LossScaler(const LossScaleConfig& config, bool fp16);

  double scale() const { return state_.scale; }
  bool is_dynamic() const { return dynamic_; }

  /// Once a step, after its gradients were looked at; a constant scale stays.
  void update(bool overflow);

  const LossScalerState& state() const { return state_; }
  /// Continues from a checkpoint. A constant scale stays as the flags say, whatever was stored.
  void restore(const LossScalerState& state);

 private:
  LossScaleConfig config_;
  bool dynamic_ = false;
  LossScalerState state_;
};

}  // namespace megalith

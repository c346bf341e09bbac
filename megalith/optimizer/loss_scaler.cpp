#include "megalith/optimizer/loss_scaler.hpp"

#include <algorithm>

namespace megalith {
namespace {

constexpr double kGrowth = 2.0;
constexpr double kBackoff = 0.5;

}  // namespace

FieldList LossScaleConfig::fields() {
  return {
      {"loss-scale", &loss_scale, "Constant loss scale for fp16; powers of two cost no precision.",
       above(0), "dynamic"},
      {"initial-loss-scale", &initial_loss_scale, "First value of the dynamic loss scale.",
       above(0)},
      {"min-loss-scale", &min_loss_scale, "The dynamic loss scale does not fall below this.",
       above(0)},
      {"loss-scale-window", &loss_scale_window, "Good steps in a row before the scale is doubled.",
       at_least(1)},
      {"hysteresis", &hysteresis, "Overflows before the scale is halved.", at_least(1)},
  };
}

void LossScaleConfig::check(bool fp16, Problems& problems) const {
  if (loss_scale && !fp16) {
    problems.add(
        "--loss-scale {} needs --fp16: fp32 and bf16 have the range to train without a loss scale. "
        "Drop the flag or add --fp16",
        *loss_scale);
  }
  if (initial_loss_scale < min_loss_scale) {
    problems.add("--initial-loss-scale {} is below --min-loss-scale {}: raise the first",
                 initial_loss_scale, min_loss_scale);
  }
}

LossScaler::LossScaler(const LossScaleConfig& config, bool fp16)
    : config_(config), dynamic_(fp16 && !config.loss_scale) {
  if (dynamic_) {
    state_ = {config.initial_loss_scale, 0, config.hysteresis};
  } else if (fp16) {
    state_.scale = *config.loss_scale;
  }
}

void LossScaler::update(bool overflow) {
  if (!dynamic_) return;
  if (overflow) {
    state_.growth_tracker = 0;
    --state_.hysteresis_tracker;
    if (state_.hysteresis_tracker <= 0) {
      state_.scale = std::max(state_.scale * kBackoff, config_.min_loss_scale);
    }
    return;
  }
  ++state_.growth_tracker;
  if (state_.growth_tracker == config_.loss_scale_window) {
    state_ = {state_.scale * kGrowth, 0, config_.hysteresis};
  }
}

void LossScaler::restore(const LossScalerState& state) {
  if (dynamic_) state_ = state;
}

}  // namespace megalith

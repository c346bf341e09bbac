// The learning rate and the weight decay as functions of the samples trained so far.
//
// Everything is counted in samples, also in runs told in iterations (then iterations times the
// global batch size), so a batch size that ramps up bends no curve. Plain arithmetic in double, in
// upstream's order of operations: equal to its tables bit for bit. The optimizer applies the
// numbers; which samples count (those of successful steps) is the trainer's business.
// Paper section 4.2; numerics as current Megatron-LM.
#pragma once

#include <cstdint>
#include <optional>

#include "megalith/core/fields.hpp"

namespace megalith {

/// The curve between the end of warm-up and the end of the decay.
enum class LearningRateStyle { kConstant, kLinear, kCosine, kInverseSquareRoot, kWsd };

/// The last phase of warm-up / stable / decay.
enum class WsdDecayStyle { kExponential, kLinear, kCosine, kMinusSqrt };

/// How the weight decay goes from its start to its end value.
enum class WeightDecayStyle { kConstant, kLinear, kCosine };

/// The flags that describe both curves, as the user gives them.
struct LearningRateConfig {
  std::optional<double> lr;
  double min_lr = 0;
  LearningRateStyle lr_decay_style = LearningRateStyle::kLinear;
  std::optional<int64_t> lr_decay_iters;
  std::optional<int64_t> lr_decay_samples;
  int64_t lr_warmup_iters = 0;
  int64_t lr_warmup_samples = 0;
  std::optional<double> lr_warmup_fraction;
  double lr_warmup_init = 0;
  WsdDecayStyle lr_wsd_decay_style = WsdDecayStyle::kExponential;
  std::optional<int64_t> lr_wsd_decay_iters;
  std::optional<int64_t> lr_wsd_decay_samples;
  double weight_decay = 0.01;
  std::optional<double> start_weight_decay;
  std::optional<double> end_weight_decay;
  WeightDecayStyle weight_decay_incr_style = WeightDecayStyle::kConstant;

  FieldList fields();
};

/// How long the run is: one of the two is set, as --train-iters or --train-samples.
struct TrainingLength {
  std::optional<int64_t> iters;
  std::optional<int64_t> samples;
  int64_t global_batch_size = 1;
};

/// Both curves with every length in samples; a warm-up given as a fraction need not be whole.
struct ParameterScheduleOptions {
  LearningRateStyle style = LearningRateStyle::kLinear;
  double init_lr = 0;
  double max_lr = 0;
  double min_lr = 0;
  double warmup_samples = 0;
  int64_t decay_samples = 0;
  WsdDecayStyle wsd_style = WsdDecayStyle::kExponential;
  int64_t wsd_decay_samples = 0;  // read for style WSD only
  WeightDecayStyle weight_decay_style = WeightDecayStyle::kConstant;
  double start_weight_decay = 0;
  double end_weight_decay = 0;
  int64_t weight_decay_samples = 0;
};

/// Turns the flags into lengths in samples. Mistakes go to `problems`; the result then is not to be
/// used. The caller reports a run without a length, or with two: here neither is added.
ParameterScheduleOptions resolve_parameter_schedule(const LearningRateConfig& config,
                                                    const TrainingLength& length,
                                                    Problems& problems);

/// The two curves. A value: copies are independent, nothing in it moves.
class ParameterSchedule {
 public:
  explicit ParameterSchedule(const ParameterScheduleOptions& options) : options_(options) {}

  /// The learning rate after `samples` samples; the first step of a run asks for 0.
  double learning_rate(int64_t samples) const;
  /// The weight decay after `samples` samples.
  double weight_decay(int64_t samples) const;

  const ParameterScheduleOptions& options() const { return options_; }

 private:
  double decay_coefficient(int64_t samples) const;

  ParameterScheduleOptions options_;
};

}  // namespace megalith

#include "megalith/optimizer/learning_rate.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace megalith {
namespace {

double half_cosine(double angle) { return 0.5 * (std::cos(std::numbers::pi * angle) + 1.0); }

/// The share of (max - min) left at `ratio` of the last phase; 1 at its start, 0 at its end.
double wsd_coefficient(WsdDecayStyle style, double ratio) {
  switch (style) {
    case WsdDecayStyle::kExponential:
      return 2.0 * std::pow(0.5, ratio) - 1.0;
    case WsdDecayStyle::kLinear:
      return 1.0 - ratio;
    case WsdDecayStyle::kCosine:
      return half_cosine(ratio);
    case WsdDecayStyle::kMinusSqrt:
      return 1.0 - std::sqrt(ratio);
  }
  throw std::logic_error("unknown WSD decay style");
}

void check_sample_flags_absent(const LearningRateConfig& config, Problems& problems) {
  const auto refuse = [&](const char* flag, int64_t value, const char* instead) {
    problems.add("--{} {} does not go with --train-iters: give --{}, or train by --train-samples",
                 flag, value, instead);
  };
  if (config.lr_decay_samples)
    refuse("lr-decay-samples", *config.lr_decay_samples, "lr-decay-iters");
  if (config.lr_warmup_samples != 0) {
    refuse("lr-warmup-samples", config.lr_warmup_samples, "lr-warmup-iters");
  }
  if (config.lr_wsd_decay_samples) {
    refuse("lr-wsd-decay-samples", *config.lr_wsd_decay_samples, "lr-wsd-decay-iters");
  }
}

void check_iteration_flags_absent(const LearningRateConfig& config, Problems& problems) {
  const auto refuse = [&](const char* flag, int64_t value, const char* instead) {
    problems.add("--{} {} does not go with --train-samples: give --{}, or train by --train-iters",
                 flag, value, instead);
  };
  if (config.lr_decay_iters) refuse("lr-decay-iters", *config.lr_decay_iters, "lr-decay-samples");
  if (config.lr_warmup_iters != 0) {
    refuse("lr-warmup-iters", config.lr_warmup_iters, "lr-warmup-samples");
  }
  if (config.lr_wsd_decay_iters) {
    refuse("lr-wsd-decay-iters", *config.lr_wsd_decay_iters, "lr-wsd-decay-samples");
  }
}

void check_warmup_given_once(const LearningRateConfig& config, Problems& problems) {
  if (!config.lr_warmup_fraction) return;
  const auto refuse = [&](const char* flag, int64_t value) {
    problems.add("the warm-up is given twice, as --lr-warmup-fraction {} and as --{} {}: keep one",
                 *config.lr_warmup_fraction, flag, value);
  };
  if (config.lr_warmup_iters != 0) refuse("lr-warmup-iters", config.lr_warmup_iters);
  if (config.lr_warmup_samples != 0) refuse("lr-warmup-samples", config.lr_warmup_samples);
}

void check_rates(const LearningRateConfig& config, Problems& problems) {
  if (!config.lr) {
    problems.add_missing("lr", "give the peak learning rate, e.g. --lr 1.5e-4");
    return;
  }
  if (config.min_lr > *config.lr) {
    problems.add("--min-lr {} is above --lr {}: lower --min-lr or raise --lr", config.min_lr,
                 *config.lr);
  }
  if (config.lr_warmup_init > *config.lr) {
    problems.add("--lr-warmup-init {} is above --lr {}: warm-up can only rise",
                 config.lr_warmup_init, *config.lr);
  }
}

/// `unit` is "iters" or "samples", the unit in which the run is told.
void check_wsd(const LearningRateConfig& config, const ParameterScheduleOptions& options,
               bool length_given, const char* unit, Problems& problems) {
  const bool is_wsd = config.lr_decay_style == LearningRateStyle::kWsd;
  if (!is_wsd && (config.lr_wsd_decay_iters || config.lr_wsd_decay_samples ||
                  config.lr_wsd_decay_style != WsdDecayStyle::kExponential)) {
    problems.add(
        "the --lr-wsd-… flags are given but --lr-decay-style is not WSD, so they would be "
        "ignored: give --lr-decay-style WSD or drop them");
  }
  if (is_wsd && !length_given) {
    problems.add("--lr-decay-style WSD needs the length of its last phase: give --lr-wsd-decay-{}",
                 unit);
  } else if (is_wsd && options.wsd_decay_samples > options.decay_samples) {
    problems.add(
        "--lr-wsd-decay-{} is {} samples, longer than the whole schedule of {} samples: shorten it "
        "or raise --lr-decay-{}",
        unit, options.wsd_decay_samples, options.decay_samples, unit);
  }
}

void resolve_weight_decay(const LearningRateConfig& config, ParameterScheduleOptions& options,
                          Problems& problems) {
  options.weight_decay_style = config.weight_decay_incr_style;
  if (config.weight_decay_incr_style == WeightDecayStyle::kConstant) {
    if (config.start_weight_decay || config.end_weight_decay) {
      problems.add(
          "--start-weight-decay and --end-weight-decay need --weight-decay-incr-style linear or "
          "cosine, got constant: give a style, or --weight-decay alone");
    }
    options.start_weight_decay = options.end_weight_decay = config.weight_decay;
    return;
  }
  if (!config.start_weight_decay || !config.end_weight_decay) {
    problems.add(
        "a --weight-decay-incr-style other than constant needs both --start-weight-decay and "
        "--end-weight-decay");
    return;
  }
  options.start_weight_decay = *config.start_weight_decay;
  options.end_weight_decay = *config.end_weight_decay;
  if (options.end_weight_decay < options.start_weight_decay) {
    problems.add("--end-weight-decay {} is below --start-weight-decay {}: it can only grow",
                 options.end_weight_decay, options.start_weight_decay);
  }
}

}  // namespace

FieldList LearningRateConfig::fields() {
  return {
      {"lr", &lr, "Peak learning rate.", at_least(0)},
      {"min-lr", &min_lr, "Learning rate at the end of the decay and after it.", at_least(0)},
      {"lr-decay-style",
       choice(lr_decay_style, {"constant", "linear", "cosine", "inverse-square-root", "WSD"}),
       "Curve from the end of warm-up to the end of the decay."},
      {"lr-decay-iters", &lr_decay_iters, "Iterations until the learning rate reaches --min-lr.",
       at_least(1), "train-iters"},
      {"lr-decay-samples", &lr_decay_samples, "Samples until the learning rate reaches --min-lr.",
       at_least(1), "train-samples"},
      {"lr-warmup-iters", &lr_warmup_iters, "Iterations of linear warm-up.", at_least(0)},
      {"lr-warmup-samples", &lr_warmup_samples, "Samples of linear warm-up.", at_least(0)},
      {"lr-warmup-fraction", &lr_warmup_fraction, "Linear warm-up as a share of the decay.",
       half_open(0, 1)},
      {"lr-warmup-init", &lr_warmup_init, "Learning rate at which the warm-up starts.",
       at_least(0)},
      {"lr-wsd-decay-style",
       choice(lr_wsd_decay_style, {"exponential", "linear", "cosine", "minus_sqrt"}),
       "Curve of the last phase of style WSD."},
      {"lr-wsd-decay-iters", &lr_wsd_decay_iters, "Iterations of the last phase of style WSD.",
       at_least(1)},
      {"lr-wsd-decay-samples", &lr_wsd_decay_samples, "Samples of the last phase of style WSD.",
       at_least(1)},
      {"weight-decay", &weight_decay, "Decoupled weight decay; biases and norms have none.",
       at_least(0)},
      {"start-weight-decay", &start_weight_decay, "Weight decay at the start of a growing decay.",
       at_least(0)},
      {"end-weight-decay", &end_weight_decay, "Weight decay at the end of a growing decay.",
       at_least(0)},
      {"weight-decay-incr-style", choice(weight_decay_incr_style, {"constant", "linear", "cosine"}),
       "How the weight decay grows over the run."},
  };
}

ParameterScheduleOptions resolve_parameter_schedule(const LearningRateConfig& config,
                                                    const TrainingLength& length,
                                                    Problems& problems) {
  const bool by_samples = !length.iters && length.samples;
  const char* const unit = by_samples ? "samples" : "iters";
  const int64_t samples_per_unit = by_samples ? 1 : length.global_batch_size;
  const int64_t whole_run = by_samples ? *length.samples : length.iters.value_or(0);
  const auto decay = by_samples ? config.lr_decay_samples : config.lr_decay_iters;
  const auto wsd_decay = by_samples ? config.lr_wsd_decay_samples : config.lr_wsd_decay_iters;
  const int64_t warmup = by_samples ? config.lr_warmup_samples : config.lr_warmup_iters;

  ParameterScheduleOptions options;
  options.style = config.lr_decay_style;
  options.wsd_style = config.lr_wsd_decay_style;
  options.init_lr = config.lr_warmup_init;
  options.max_lr = config.lr.value_or(0);
  options.min_lr = config.min_lr;
  options.decay_samples = decay.value_or(whole_run) * samples_per_unit;
  options.wsd_decay_samples = wsd_decay.value_or(0) * samples_per_unit;
  options.weight_decay_samples = whole_run * samples_per_unit;
  options.warmup_samples =
      config.lr_warmup_fraction
          ? *config.lr_warmup_fraction * static_cast<double>(options.decay_samples)
          : static_cast<double>(warmup * samples_per_unit);

  check_rates(config, problems);
  check_warmup_given_once(config, problems);
  if (length.iters) check_sample_flags_absent(config, problems);
  if (by_samples) check_iteration_flags_absent(config, problems);
  resolve_weight_decay(config, options, problems);
  const bool length_known = length.iters || length.samples;
  if (length_known) {
    check_wsd(config, options, wsd_decay.has_value(), unit, problems);
  }
  if (length_known && options.warmup_samples >= static_cast<double>(options.decay_samples)) {
    problems.add(
        "the warm-up of {} samples does not end before the decay at {} samples: shorten the "
        "warm-up "
        "or raise --lr-decay-{} (by default the length of the run)",
        options.warmup_samples, options.decay_samples, unit);
  }
  return options;
}

double ParameterSchedule::decay_coefficient(int64_t samples) const {
  const ParameterScheduleOptions& o = options_;
  if (o.style == LearningRateStyle::kWsd) {
    const int64_t last_phase_start = o.decay_samples - o.wsd_decay_samples;
    if (samples <= last_phase_start) return 1.0;
    return wsd_coefficient(o.wsd_style, static_cast<double>(samples - last_phase_start) /
                                            static_cast<double>(o.wsd_decay_samples));
  }
  const double ratio = (static_cast<double>(samples) - o.warmup_samples) /
                       (static_cast<double>(o.decay_samples) - o.warmup_samples);
  return o.style == LearningRateStyle::kLinear ? 1.0 - ratio : half_cosine(ratio);
}

double ParameterSchedule::learning_rate(int64_t samples) const {
  const ParameterScheduleOptions& o = options_;
  const double n = static_cast<double>(samples);
  if (o.warmup_samples > 0 && n <= o.warmup_samples) {
    return o.init_lr + (o.max_lr - o.init_lr) * n / o.warmup_samples;
  }
  if (o.style == LearningRateStyle::kConstant) return o.max_lr;
  if (samples > o.decay_samples) return o.min_lr;
  if (o.style == LearningRateStyle::kInverseSquareRoot) {
    // pow, not sqrt: upstream's operator rounds this way.
    const double rise = std::pow(std::max(o.warmup_samples, 1.0), 0.5);
    return std::max(o.min_lr, o.max_lr * rise / std::pow(std::max(n, 1.0), 0.5));
  }
  return o.min_lr + decay_coefficient(samples) * (o.max_lr - o.min_lr);
}

double ParameterSchedule::weight_decay(int64_t samples) const {
  const ParameterScheduleOptions& o = options_;
  if (o.weight_decay_style == WeightDecayStyle::kConstant || samples > o.weight_decay_samples) {
    return o.end_weight_decay;
  }
  const double ratio = static_cast<double>(samples) / static_cast<double>(o.weight_decay_samples);
  const double coefficient =
      o.weight_decay_style == WeightDecayStyle::kLinear ? ratio : half_cosine(1.0 - ratio);
  return o.start_weight_decay + coefficient * (o.end_weight_decay - o.start_weight_decay);
}

}  // namespace megalith

#include "megalith/optimizer/batch_size.hpp"

#include <algorithm>

namespace megalith {
namespace {

constexpr double kLargestBatch = 1e9;  // products with the world's size stay whole numbers

/// The multiples of `unit` around `value`, as a hint: "try 96 or 120".
std::string nearest_multiples(int64_t value, int64_t unit) {
  const int64_t below = value / unit * unit;
  return below == 0 ? fmt::format("try {}", unit)
                    : fmt::format("try {} or {}", below, below + unit);
}

void check_divides(const std::string& what, int64_t value, const BatchSizeConfig& config,
                   int64_t data_size, Problems& problems) {
  const int64_t unit = *config.micro_batch_size * data_size;
  const bool rounds_to_nothing = config.decrease_batch_size_if_needed && value < unit;
  const bool leaves_a_rest = !config.decrease_batch_size_if_needed && value % unit != 0;
  if (!rounds_to_nothing && !leaves_a_rest) return;
  problems.add(
      "{} {} is {} --micro-batch-size {} x {} data-parallel ranks = {}: {}, or another "
      "--micro-batch-size",
      what, value, rounds_to_nothing ? "below" : "not divisible by", *config.micro_batch_size,
      data_size, unit, nearest_multiples(value, unit));
}

void check_ramp(const BatchSizeConfig& config, int64_t data_size, bool by_iterations,
                Problems& problems) {
  const auto& ramp = config.rampup_batch_size;
  if (ramp.size() != 3 || ramp[0] < 1 || ramp[1] < 1 || ramp[2] < 1) {
    problems.add(
        "--rampup-batch-size needs three whole numbers of at least 1 (start, increment, samples), "
        "got '{}'",
        fmt::join(ramp, " "));
    return;
  }
  if (by_iterations) {
    problems.add(
        "--rampup-batch-size {} does not go with --train-iters, as an iteration then has no fixed "
        "number of samples: give --train-samples",
        fmt::join(ramp, " "));
  }
  const int64_t final_batch = config.resolved_global_batch_size(data_size);
  if (ramp[0] > final_batch) {
    problems.add("--rampup-batch-size starts at {}, above the global batch size {}: start lower",
                 ramp[0], final_batch);
    return;
  }
  if ((final_batch - ramp[0]) % ramp[1] != 0) {
    problems.add(
        "--rampup-batch-size: from {} in jumps of {} the global batch size {} is never met: choose "
        "an increment that divides {}",
        ramp[0], ramp[1], final_batch, final_batch - ramp[0]);
    return;
  }
  check_divides("the start of --rampup-batch-size", ramp[0], config, data_size, problems);
  if (ramp[0] < final_batch && !config.decrease_batch_size_if_needed) {
    check_divides("the increment of --rampup-batch-size", ramp[1], config, data_size, problems);
  }
}

}  // namespace

FieldList BatchSizeConfig::fields() {
  return {
      {"micro-batch-size", &micro_batch_size, "Samples a rank takes through the model at once.",
       between(1, kLargestBatch)},
      {"global-batch-size", &global_batch_size, "Samples of one optimizer step over all ranks.",
       between(1, kLargestBatch), "micro-batch-size x data-parallel ranks"},
      {"rampup-batch-size", &rampup_batch_size,
       "Grow the global batch size: start, increment, and samples until it is reached.",
       at_least(1), "", 3},
      {"decrease-batch-size-if-needed", &decrease_batch_size_if_needed,
       "Round a global batch size that does not divide down, instead of refusing it."},
  };
}

int64_t BatchSizeConfig::resolved_global_batch_size(int64_t data_size) const {
  return global_batch_size.value_or(micro_batch_size.value_or(1) * data_size);
}

void BatchSizeConfig::check(int64_t data_size, bool by_iterations, Problems& problems) const {
  if (!micro_batch_size) {
    problems.add_missing("micro-batch-size", "give the samples a rank takes at once, e.g. 4");
    return;
  }
  if (*micro_batch_size < 1 || resolved_global_batch_size(data_size) < 1) {
    problems.add("--micro-batch-size {} and --global-batch-size {} must be at least 1",
                 *micro_batch_size, resolved_global_batch_size(data_size));
    return;
  }
  check_divides("--global-batch-size", resolved_global_batch_size(data_size), *this, data_size,
                problems);
  if (!rampup_batch_size.empty()) check_ramp(*this, data_size, by_iterations, problems);
}

BatchSizeSchedule::BatchSizeSchedule(const BatchSizeConfig& config, int64_t data_size) {
  Problems problems;
  config.check(data_size, false, problems);
  problems.raise_if_any();
  micro_batch_size_ = *config.micro_batch_size;
  samples_per_micro_batch_ = micro_batch_size_ * data_size;
  final_batch_ = start_batch_ = config.resolved_global_batch_size(data_size);
  if (!config.rampup_batch_size.empty() && config.rampup_batch_size[0] < final_batch_) {
    start_batch_ = config.rampup_batch_size[0];
    increment_ = config.rampup_batch_size[1];
    ramp_samples_ = config.rampup_batch_size[2];
  }
}

int64_t BatchSizeSchedule::scheduled_global_batch(int64_t consumed) const {
  if (consumed > ramp_samples_) return final_batch_;
  // Double division as upstream's: where the ramp does not divide evenly its rounding decides.
  const auto num_jumps = static_cast<double>((final_batch_ - start_batch_) / increment_);
  const double samples_per_jump = static_cast<double>(ramp_samples_) / num_jumps;
  const auto jumps = static_cast<int64_t>(static_cast<double>(consumed) / samples_per_jump);
  return std::min(start_batch_ + jumps * increment_, final_batch_);
}

int64_t BatchSizeSchedule::num_micro_batches(int64_t consumed) const {
  return scheduled_global_batch(consumed) / samples_per_micro_batch_;
}

int64_t BatchSizeSchedule::global_batch(int64_t consumed) const {
  return num_micro_batches(consumed) * samples_per_micro_batch_;
}

int64_t BatchSizeSchedule::num_iterations(int64_t samples) const {
  int64_t consumed = 0;
  int64_t iterations = 0;
  while (consumed <= ramp_samples_) {
    const int64_t batch = global_batch(consumed);
    if (consumed + batch > samples) return iterations;
    consumed += batch;
    ++iterations;
  }
  return iterations + (samples - consumed) / global_batch(consumed);
}

}  // namespace megalith

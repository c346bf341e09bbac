#include "megalith/layers/rotary.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace megalith {
namespace {

double llama3_frequency(double frequency, const RopeScaling& scaling) {
  const auto original = static_cast<double>(scaling.original_positions());
  const double turns = original * frequency / (2 * std::numbers::pi);  // over the original length
  if (turns > scaling.high_frequency_factor) return frequency;
  if (turns < scaling.low_frequency_factor) return frequency / scaling.factor();
  const double smooth = (turns - scaling.low_frequency_factor) /
                        (scaling.high_frequency_factor - scaling.low_frequency_factor);
  return (1 - smooth) * frequency / scaling.factor() + smooth * frequency;
}

/// Frequencies that turn often keep their place, those that turn less than once are stretched, and
/// a ramp over the pairs joins them (YaRN, section 3.2).
void scale_by_yarn(std::vector<double>& frequencies, double size, double base,
                   const RopeScaling& scaling) {
  const auto pair_that_turns = [&](double turns) {
    const auto original = static_cast<double>(scaling.original_positions());
    return size * std::log(original / (turns * 2 * std::numbers::pi)) / (2 * std::log(base));
  };
  const double low = std::max(std::floor(pair_that_turns(scaling.beta_fast)), 0.0);
  double high = std::min(std::ceil(pair_that_turns(scaling.beta_slow)), size - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / scaling.factor() * ramp + frequencies[i] * (1 - ramp);
  }
}

}  // namespace

double RopeScaling::attention_factor() const {
  if (type != RopeScalingType::kYarn) return 1.0;
  if (attention_factor_flag) return *attention_factor_flag;
  return factor() <= 1 ? 1.0 : 0.1 * std::log(factor()) + 1;
}

FieldList RopeScaling::fields() {
  return {
      {"rope-scaling-type", choice(type, {"none", "linear", "llama3", "yarn", "dynamic"}),
       "How rotary frequencies are stretched for texts longer than the model was first trained on; "
       "dynamic changes nothing within --max-position-embeddings."},
      {"rope-scaling-factor", &factor_flag, "How many times longer.", at_least(1), "8 with llama3"},
      {"original-max-position-embeddings", &original_positions_flag,
       "Positions of the first training, with llama3 and yarn.", at_least(1), "8192 with llama3"},
      {"rope-low-freq-factor", &low_frequency_factor,
       "llama3: frequencies that turn less often over the original positions are divided by the "
       "factor.",
       above(0)},
      {"rope-high-freq-factor", &high_frequency_factor,
       "llama3: frequencies that turn more often over the original positions stay.", above(0)},
      {"beta-fast", &beta_fast, "yarn: frequencies that turn more often stay.", above(0)},
      {"beta-slow", &beta_slow, "yarn: frequencies that turn less often are divided.", above(0)},
      {"rope-attention-factor", &attention_factor_flag,
       "yarn: cosine and sine are multiplied by this.", above(0), "0.1 ln(factor) + 1"},
  };
}

void RopeScaling::check(double base, Problems& problems) const {
  using Type = RopeScalingType;
  const RopeScaling defaults;
  const bool scales = type != Type::kNone, llama3 = type == Type::kLlama3,
             yarn = type == Type::kYarn;
  const auto needs = [&](bool given, bool applies, const char* flag, const char* kinds) {
    if (given && !applies) {
      problems.add("--{} needs --rope-scaling-type {}; leave it out, or give both", flag, kinds);
    }
  };
  needs(factor_flag.has_value(), scales, "rope-scaling-factor", "linear, llama3, yarn or dynamic");
  needs(original_positions_flag.has_value(), llama3 || yarn, "original-max-position-embeddings",
        "llama3 or yarn");
  needs(low_frequency_factor != defaults.low_frequency_factor, llama3, "rope-low-freq-factor",
        "llama3");
  needs(high_frequency_factor != defaults.high_frequency_factor, llama3, "rope-high-freq-factor",
        "llama3");
  needs(beta_fast != defaults.beta_fast, yarn, "beta-fast", "yarn");
  needs(beta_slow != defaults.beta_slow, yarn, "beta-slow", "yarn");
  needs(attention_factor_flag.has_value(), yarn, "rope-attention-factor", "yarn");
  if (scales && !llama3 && !factor_flag) {
    problems.add_missing("rope-scaling-factor", "this --rope-scaling-type has no usual value");
  }
  if (yarn && !original_positions_flag) {
    problems.add_missing("original-max-position-embeddings",
                         "yarn needs the positions of the first training");
  }
  if (llama3 && high_frequency_factor <= low_frequency_factor) {
    problems.add("--rope-high-freq-factor {} is not above --rope-low-freq-factor {}",
                 high_frequency_factor, low_frequency_factor);
  }
  if (yarn && beta_fast < beta_slow) {
    problems.add("--beta-fast {} is below --beta-slow {}; exchange them", beta_fast, beta_slow);
  }
  if (yarn && base <= 1)
    problems.add("--rotary-base {} is too small for yarn; give one above 1", base);
}

std::vector<double> rotary_frequencies(int64_t rotary_size, double base,
                                       const RopeScaling& scaling) {
  std::vector<double> frequencies;
  const auto size = static_cast<double>(rotary_size);
  for (int64_t i = 0; i < rotary_size; i += 2) {
    frequencies.push_back(1 / std::pow(base, static_cast<double>(i) / size));
  }
  switch (scaling.type) {
    case RopeScalingType::kNone:
    case RopeScalingType::kDynamic:
      break;
    case RopeScalingType::kLinear:
      for (double& frequency : frequencies) frequency /= scaling.factor();
      break;
    case RopeScalingType::kLlama3:
      for (double& frequency : frequencies) frequency = llama3_frequency(frequency, scaling);
      break;
    case RopeScalingType::kYarn:
      scale_by_yarn(frequencies, size, base, scaling);
      break;
  }
  return frequencies;
}

}  // namespace megalith

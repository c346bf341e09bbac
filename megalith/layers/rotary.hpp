// The frequencies of rotary positions, and how published models stretch them to longer texts.
//
// Plain arithmetic on numbers; ops/elementwise.hpp turns frequencies into angles and rotates.
// Sources: RoPE, arXiv:2104.09864; linear, arXiv:2306.15595; YaRN, arXiv:2309.00071; llama3, the
// scaling that Llama 3.1 was published with. Tested against transformers' ROPE_INIT_FUNCTIONS.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "megalith/core/fields.hpp"

namespace megalith {

/// kDynamic changes the base beyond the model's positions only, and no model here goes there: it
/// is kept so that the model can be given back as it came.
enum class RopeScalingType { kNone, kLinear, kLlama3, kYarn, kDynamic };

struct RopeScaling {
  RopeScalingType type = RopeScalingType::kNone;
  std::optional<double> factor_flag;
  std::optional<int64_t> original_positions_flag;
  double low_frequency_factor = 1.0;
  double high_frequency_factor = 4.0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  std::optional<double> attention_factor_flag;

  /// Llama 3.1's values are the defaults of its kind; the other kinds have none.
  double factor() const { return factor_flag.value_or(8.0); }
  int64_t original_positions() const { return original_positions_flag.value_or(8192); }
  /// What cosine and sine are multiplied by: 1 except with YaRN.
  double attention_factor() const;

  FieldList fields();
  /// Settings that are missing, or that the kind does not read. `base`: --rotary-base.
  void check(double base, Problems& problems) const;
};

/// The rotary_size / 2 frequencies base^(-2i/rotary_size), scaled.
std::vector<double> rotary_frequencies(int64_t rotary_size, double base,
                                       const RopeScaling& scaling = {});

}  // namespace megalith

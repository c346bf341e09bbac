// How BERT samples are made: the flags beside data_config.hpp's that a GPT has no use for.
//
// Names and defaults are upstream's, and so is what they do; the two that upstream does not have
// depart from it and are off.
#pragma once

#include <cstdint>

#include "megalith/core/fields.hpp"

namespace megalith {

struct BertDataConfig {
  double mask_prob = 0.15;
  double short_seq_prob = 0.1;
  bool no_binary_head = false;
  bool keep_long_sentences = false;
  bool clean_masking = false;

  FieldList fields();

  /// Adds what cannot be: probabilities out of range, a sequence too short for a pair, a seed that
  /// upstream's generator does not take.
  void check(int64_t sequence_length, int64_t seed, Problems& problems) const;
};

}  // namespace megalith

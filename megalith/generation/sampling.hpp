// Which token comes next: temperature, top-k, top-p, and a draw that depends on its key alone.
//
// Works on one row of logits in double, on the CPU; knows no model and no ranks (generator.hpp).
// A draw gives every token left a Gumbel variable made from (seed, prompt, sample, position, token)
// and takes the largest sum of logit and variable: this draws from the softmax exactly, and
// rounding in the logits changes the outcome only when two sums are that close, whereas walking the
// cumulated probabilities of a large vocabulary meets such a boundary in every hundredth draw.
// Promise: the same logits, configuration and key give the same token, everywhere.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "megalith/core/fields.hpp"

namespace megalith {

struct SamplingConfig {
  bool greedy = false;
  double temperature = 1.0;
  int64_t top_k = 0;
  double top_p = 0.0;
  std::optional<int64_t> max_new_tokens;  // not given: as many as there are positions, up to 128
  int64_t num_samples = 1;
  int64_t seed = 1234;

  /// Of the longest continuation.
  int64_t most_new_tokens() const { return max_new_tokens.value_or(128); }
  /// Of the continuation of a prompt of `length` tokens in a model of so many positions.
  int64_t new_tokens_after(int64_t length, int64_t positions) const {
    return max_new_tokens.value_or(std::min(most_new_tokens(), positions - length));
  }

  FieldList fields();
  void check(Problems& problems) const;
  bool picks_likeliest() const { return greedy || temperature == 0; }
};

/// What makes a draw, besides the seed. `prompt` is prompt_key(), so that neither the other prompts
/// nor the place in a file matter; `position` is the new token's place in the sequence.
struct DrawKey {
  int64_t prompt = 0;
  int64_t sample = 0;
  int64_t position = 0;
};

/// A number made from the ids of a prompt.
int64_t prompt_key(std::span<const int32_t> ids);

struct Candidate {
  int64_t token = 0;
  double probability = 0;
};

/// What a draw chooses from, likeliest first (ties: the lower id), probabilities adding up to 1:
/// softmax(logits / temperature), of it the top_k likeliest, of those the fewest that together
/// reach top_p. Needs a temperature above 0. Throws RunError when a logit is not a number.
std::vector<Candidate> sampling_candidates(std::span<const double> logits,
                                           const SamplingConfig& config);

/// The next token. Minus infinity is never picked. Throws RunError when a logit is not a number.
int64_t pick_token(std::span<const double> logits, const SamplingConfig& config,
                   const DrawKey& key);

}  // namespace megalith

// Perplexity of a stream of tokens under a model, with sliding windows over data-parallel ranks.
//
// Sums in double over losses of the compute type's accuracy (fp32 at least).
#pragma once

#include "megalith/tasks/report.hpp"
#include "megalith/tasks/token_stream.hpp"

namespace megalith {

struct PerplexitySums {
  int64_t tokens = 0;          // targets scored
  double log_probability = 0;  // the sum over them, natural logarithm

  double loss() const { return -log_probability / static_cast<double>(tokens); }
};

/// Scores every token of the stream after the first, the same sums on every rank.
/// Communicates: tensor and data, every rank must call with the same arguments.
PerplexitySums evaluate_perplexity(const GptModel& model, const ProcessGroups& groups,
                                   const TokenStream& stream, const SlidingWindows& windows,
                                   const ScoringOptions& options);

/// tokens, loss, perplexity.
void add_perplexity(Report& report, const PerplexitySums& sums);

}  // namespace megalith

#include "megalith/tasks/perplexity.hpp"

#include <cmath>

namespace megalith {

PerplexitySums evaluate_perplexity(const GptModel& model, const ProcessGroups& groups,
                                   const TokenStream& stream, const SlidingWindows& windows,
                                   const ScoringOptions& options) {
  double tokens = 0, log_probability = 0;
  score_share(model, groups, window_rows(stream, windows), options,
              [&](int64_t, std::span<const TokenScore> scores) {
                tokens += static_cast<double>(scores.size());
                for (const auto& score : scores) log_probability += score.log_probability;
              });
  const auto sums = sum_over_data_ranks({tokens, log_probability}, model, groups);
  return {static_cast<int64_t>(sums[0]), sums[1]};
}

void add_perplexity(Report& report, const PerplexitySums& sums) {
  report.add("tokens", sums.tokens, "sub-word targets scored: every token but the first");
  report.add("loss", sums.loss(), "-(sum of log P) / tokens");
  report.add("perplexity", std::exp(sums.loss()), "exp(loss)");
}

}  // namespace megalith

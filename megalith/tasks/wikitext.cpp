#include "megalith/tasks/wikitext.hpp"

#include <algorithm>
#include <cmath>

namespace megalith {
namespace {

/// Upstream's cap on what it takes the exponential of.
constexpr double kLargestExponent = 20;

}  // namespace

void add_wikitext(Report& report, const PerplexitySums& sums, int64_t original_tokens) {
  const auto words = static_cast<double>(original_tokens);
  const double ratio = static_cast<double>(sums.tokens) / (words - 1);
  add_perplexity(report, sums);
  report.add("original_tokens", original_tokens,
             "words of the file: the stripped text, split at single spaces");
  report.add("token_ratio", ratio, "tokens / (original_tokens - 1)");
  report.add("word_perplexity", std::exp(-sums.log_probability / words),
             "exp(-(sum of log P) / original_tokens): the paper's");
  report.add("adjusted_perplexity", std::exp(std::min(kLargestExponent, sums.loss() * ratio)),
             "exp(min(20, loss * token_ratio)): upstream's log");
}

}  // namespace megalith

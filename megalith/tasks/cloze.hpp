// LAMBADA: guess the last word of a text (the paper, appendix E).
//
// Strict, as the paper: the last word between white space is encoded with its leading space, and
// every one of its sub-words must be the likeliest token under teacher forcing. Otherwise only the
// last token of the encoded text is asked for, upstream's old default.
#pragma once

#include "megalith/tasks/examples.hpp"
#include "megalith/tasks/report.hpp"
#include "megalith/tasks/scoring.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith {

/// What is looked at, and what is to be guessed after it.
struct Continuing {
  std::vector<int32_t> context;
  std::vector<int32_t> target;
  bool truncated = false;  // the context lost tokens at its left
};

/// The example as ids. Throws UsageError with the reason alone when it has no context or no target.
Continuing encode_cloze(const ClozeExample& example, const Tokenizer& tokenizer, bool strict);

/// Takes tokens away at the left of the context until context and target fit a window of inputs, of
/// which one at least is context. Throws UsageError with the reason alone when the target is
/// longer.
void fit_window(Continuing& continuing, int64_t window);

/// All examples, those that cannot be evaluated in `problems`.
std::vector<Continuing> encode_cloze_examples(const std::string& path,
                                              const std::vector<ClozeExample>& examples,
                                              const Tokenizer& tokenizer, bool strict,
                                              int64_t window, Problems& problems);

struct ClozeResult {
  double log_probability = 0;      // of the whole target
  std::vector<int32_t> likeliest;  // where the target's tokens should be
  bool correct = false;            // they are the target
};

/// One result an example, in order, the same on every rank.
/// Communicates: tensor and data, every rank must call with the same arguments.
std::vector<ClozeResult> evaluate_cloze(const GptModel& model, const ProcessGroups& groups,
                                        const std::vector<Continuing>& examples,
                                        ScoringOptions options);

/// examples, truncated_examples, tokens, correct, accuracy, loss, perplexity.
void add_cloze(Report& report, const std::vector<Continuing>& examples,
               const std::vector<ClozeResult>& results);

}  // namespace megalith

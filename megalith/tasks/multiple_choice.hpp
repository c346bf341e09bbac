// Questions with choices, answered by the likelihood of each choice after the question.
//
// Query, delimiter and choice are one text; spaces at the end of the delimiter belong to the
// choice, since sub-words begin with their space. Query and choices are encoded apart. The query
// goes through the model once for all of its choices (ScoringRow::branches).
#pragma once

#include "megalith/tasks/examples.hpp"
#include "megalith/tasks/report.hpp"
#include "megalith/tasks/scoring.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith {

struct EncodedChoices {
  std::vector<int32_t> context;
  std::vector<std::vector<int32_t>> choices;
  std::vector<int64_t> choice_bytes;  // of the choices as they stand in the file
  int64_t gold = 0;
  bool truncated = false;  // the context lost tokens at its left, for the longest choice
};

/// All examples as ids, those that cannot be evaluated in `problems`.
std::vector<EncodedChoices> encode_choices(const std::string& path,
                                           const std::vector<ChoiceExample>& examples,
                                           const Tokenizer& tokenizer, const std::string& delimiter,
                                           int64_t window, Problems& problems);

struct ChoiceResult {
  std::vector<double> log_probabilities;          // of each choice
  int64_t by_sum = 0, by_token = 0, by_byte = 0;  // the best choice, of equals the first
};

/// One result an example, in order, the same on every rank.
/// Communicates: tensor and data, every rank must call with the same arguments.
std::vector<ChoiceResult> evaluate_choices(const GptModel& model, const ProcessGroups& groups,
                                           const std::vector<EncodedChoices>& examples,
                                           const ScoringOptions& options);

/// examples, truncated_examples, tokens, accuracy, accuracy_per_token, accuracy_per_byte.
void add_choices(Report& report, const std::vector<EncodedChoices>& examples,
                 const std::vector<ChoiceResult>& results);

}  // namespace megalith

// From a model's start and end logits to answers: the n best spans of each question over its
// windows, the odds of no answer, and the official files.
//
// As BERT's run_squad, but that an answer is the original text between two pieces, and that a
// question without any window or valid span is answered by "", not by the word "empty".
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "megalith/tasks/finetune/squad_metrics.hpp"
#include "megalith/tasks/finetune/squad_windows.hpp"

namespace megalith {

/// One logit for each id of a window; further ones (padding) are not looked at.
struct WindowLogits {
  std::span<const float> start, end;
};

struct AnswerCandidate {
  std::string text;  // "" is no answer
  double probability = 0;
  double start_logit = 0, end_logit = 0;
};

struct SquadPrediction {
  std::string id;
  std::vector<AnswerCandidate> n_best;  // best first
  std::string best_text;                // the best that is not ""; "" when there is none
  /// 2.0: how much larger the logits of no answer are than those of best_text. The logits of no
  /// answer are those of [CLS] in the window where they are smallest.
  double null_odds = 0;
};

/// One prediction a question, in the dataset's order. `logits` has one entry a window. Throws
/// RunError when a logit is not a number.
std::vector<SquadPrediction> predict_answers(const SquadDataset& dataset,
                                             const SquadFeatures& features,
                                             std::span<const WindowLogits> logits,
                                             const SquadConfig& config);

/// What is answered: best_text, or "" where the odds of no answer are above `threshold` (2.0).
std::string final_answer(const SquadPrediction& prediction, std::optional<double> threshold);

/// For the metrics: best_text of every question, and the odds of no answer.
AnswerTexts best_texts(const std::vector<SquadPrediction>& predictions);
NullOdds null_odds(const std::vector<SquadPrediction>& predictions);

/// 1.1: evaluate_squad_v1. 2.0: evaluate_squad_v2 with the odds and `threshold`, or with the
/// threshold of the best F1 when none is given. Throws UsageError when questions have no answers.
SquadResult evaluate_predictions(const SquadDataset& dataset,
                                 const std::vector<SquadPrediction>& predictions,
                                 std::optional<double> threshold);

/// The official files: {"id": "text"}; {"id": [{text, probability, start_logit, end_logit}, ...]};
/// {"id": odds}.
void write_answers(const std::string& path, const std::vector<SquadPrediction>& predictions,
                   std::optional<double> threshold);
void write_n_best(const std::string& path, const std::vector<SquadPrediction>& predictions);
void write_null_odds(const std::string& path, const std::vector<SquadPrediction>& predictions);

}  // namespace megalith

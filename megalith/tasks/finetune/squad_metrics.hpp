// SQuAD's official scores: exact match and F1 over normalised answers, as evaluate-v1.1.py and
// evaluate-v2.0.py compute them, to the last digit.
//
// Normalised: lower case, ASCII punctuation and the words a, an, the gone, white space folded
// (Rajpurkar et al. 2016 and 2018). Needs no model: predictions are texts by question id.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "megalith/tasks/finetune/squad.hpp"

namespace megalith {

std::string normalize_answer(const std::string& text);

/// The scripts differ where an answer is empty after normalising: 1.1 then gives an F1 of 0, 2.0
/// compares.
enum class SquadVersion { k1, k2 };
bool exact_match(const std::string& prediction, const std::string& answer);
double answer_f1(const std::string& prediction, const std::string& answer, SquadVersion version);

using AnswerTexts = std::map<std::string, std::string>;  // by question id
using NullOdds = std::map<std::string, double>;          // how much likelier no answer is

struct SquadScores {
  double exact = 0, f1 = 0;  // percent
  int64_t total = 0;
};

struct SquadResult {
  SquadScores all;
  int64_t num_missing = 0;                     // 1.1: questions without prediction, scored 0
  std::optional<SquadScores> has_ans, no_ans;  // 2.0
  /// 2.0 with null odds: the best score that some threshold on them gives, and that threshold.
  std::optional<double> best_exact, best_exact_threshold, best_f1, best_f1_threshold;
};

/// evaluate-v1.1.py.
SquadResult evaluate_squad_v1(const SquadDataset& dataset, const AnswerTexts& predictions);

/// evaluate-v2.0.py. With `odds`, "" is taken for every question whose odds are above `threshold`,
/// and the best thresholds are found; `predictions` are then the best answers that are not empty.
/// Throws UsageError when a question has no prediction, or no odds.
SquadResult evaluate_squad_v2(const SquadDataset& dataset, const AnswerTexts& predictions,
                              const NullOdds* odds = nullptr, double threshold = 1.0);

/// The scores by the names that the scripts print: exact_match and f1 for 1.1; exact, f1, total,
/// HasAns_..., NoAns_..., best_exact, best_exact_thresh, best_f1, best_f1_thresh for 2.0.
nlohmann::ordered_json score_object(const SquadResult& result);

/// Reads {"id": "text"}. Throws UsageError naming the place of what is none.
AnswerTexts read_answer_texts(const std::string& path);
/// Reads {"id": number}.
NullOdds read_null_odds(const std::string& path);

}  // namespace megalith

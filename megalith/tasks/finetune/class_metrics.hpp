// Scores of classification and multiple choice, from predictions with labels: accuracy in all and
// by group (matched and mismatched, middle and high), and F1 of one class.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "megalith/tasks/finetune/class_predictions.hpp"

namespace megalith {

struct Accuracy {
  int64_t num_correct = 0, total = 0;
  double value() const;  // 0 to 1
};

struct ClassScores {
  Accuracy all;
  std::map<std::string, Accuracy> groups;  // of more than ""
  std::optional<double> f1;                // of the class asked for
};

/// F1 = 2 true positives / (2 true positives + false positives + false negatives), 0 when nothing
/// is positive. Throws UsageError when an example has no label, or there is no such class.
ClassScores score_classes(const ClassPredictions& predictions,
                          const std::optional<std::string>& f1_class = std::nullopt);

/// {"accuracy", "f1", "total", and for each group "accuracy_GROUP", "total_GROUP"}.
nlohmann::ordered_json score_object(const ClassScores& scores);

}  // namespace megalith

// What a model said about every example of classification or multiple choice, saved so that it can
// be looked at, scored again (class_metrics.hpp) and averaged with what other models said.
//
// JSON lines, which pandas.read_json(lines=True) and jq open: {"id", "group", "classes", "logits",
// "probabilities", "prediction", "label"}, one example a line; numbers read back as the same
// doubles. An average is over probabilities; examples are matched by id and group, whatever their
// order.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "megalith/tasks/finetune/choice_questions.hpp"
#include "megalith/tasks/finetune/classification.hpp"

namespace megalith {

struct ClassPrediction {
  std::string id, group;
  std::vector<double> logits = {};  // one a class
  std::optional<int64_t> label = std::nullopt;

  /// Softmax of the logits.
  std::vector<double> probabilities() const;
  /// The class with the largest logit, of equals the first.
  int64_t best() const;
};

struct ClassPredictions {
  std::vector<std::string> classes;
  std::vector<ClassPrediction> rows;
};

/// Logits [examples, classes], row by row, put to the examples. Throws RunError when a logit is not
/// a number.
ClassPredictions class_predictions(const ClassificationSet& set, std::span<const float> logits);
/// The same for choices, whose classes are "0", "1", ...
ClassPredictions class_predictions(const ChoiceSet& set, std::span<const float> logits);

void write_class_predictions(const std::string& path, const ClassPredictions& predictions);
/// Throws UsageError naming file, line and what is wrong there.
ClassPredictions read_class_predictions(const std::string& path);

/// The mean of the probabilities; logits are its logarithms. Throws UsageError when the files do
/// not hold the same classes, examples and labels.
ClassPredictions average_class_predictions(const std::vector<std::string>& paths);

/// GLUE's file for submission: index TAB prediction.
void write_glue_submission(const std::string& path, const ClassPredictions& predictions);

}  // namespace megalith

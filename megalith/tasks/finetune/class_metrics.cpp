#include "megalith/tasks/finetune/class_metrics.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace megalith {
namespace {

double f1_of(const ClassPredictions& predictions, const std::string& name) {
  const auto& classes = predictions.classes;
  const auto found = std::find(classes.begin(), classes.end(), name);
  if (found == classes.end()) {
    throw UsageError("there is no class '{}' for F1; the classes are {}", name,
                     fmt::join(classes, ", "));
  }
  const int64_t positive = found - classes.begin();
  int64_t both = 0, either = 0;  // either counts an example twice that is both
  for (const auto& row : predictions.rows) {
    const bool is = row.label == positive, said = row.best() == positive;
    both += is && said ? 1 : 0;
    either += (is ? 1 : 0) + (said ? 1 : 0);
  }
  return either == 0 ? 0 : 2 * static_cast<double>(both) / static_cast<double>(either);
}

}  // namespace

double Accuracy::value() const {
  return total == 0 ? 0 : static_cast<double>(num_correct) / static_cast<double>(total);
}

ClassScores score_classes(const ClassPredictions& predictions,
                          const std::optional<std::string>& f1_class) {
  ClassScores scores;
  for (const auto& row : predictions.rows) {
    if (!row.label) {
      throw UsageError(
          "example {} has no label, so there is nothing to score; files without "
          "labels are for predicting only",
          shortened(row.id));
    }
    const int64_t correct = row.best() == *row.label ? 1 : 0;
    scores.all.num_correct += correct;
    ++scores.all.total;
    if (row.group.empty()) continue;
    scores.groups[row.group].num_correct += correct;
    ++scores.groups[row.group].total;
  }
  if (f1_class) scores.f1 = f1_of(predictions, *f1_class);
  return scores;
}

nlohmann::ordered_json score_object(const ClassScores& scores) {
  nlohmann::ordered_json object = {{"accuracy", scores.all.value()}};
  if (scores.f1) object["f1"] = *scores.f1;
  object["total"] = scores.all.total;
  for (const auto& [group, accuracy] : scores.groups) {
    object["accuracy_" + group] = accuracy.value();
    object["total_" + group] = accuracy.total;
  }
  return object;
}

}  // namespace megalith

#include "megalith/tasks/finetune/class_predictions.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "megalith/core/atomic_file.hpp"
#include "megalith/tasks/finetune/json_input.hpp"

namespace megalith {
namespace {

using Key = std::pair<std::string, std::string>;  // group and id

Key key_of(const ClassPrediction& row) { return {row.group, row.id}; }

/// "m-12", or "matched m-12" where there are groups.
std::string name_of(const ClassPrediction& row) {
  return row.group.empty() ? shortened(row.id) : row.group + " " + shortened(row.id);
}

template <class Example>
ClassPredictions with_logits(std::vector<std::string> classes, const std::vector<Example>& examples,
                             std::span<const float> logits) {
  const size_t width = classes.size();
  if (logits.size() != examples.size() * width) {
    throw RunError("{} examples with {} classes have {} logits", examples.size(), width,
                   logits.size());
  }
  ClassPredictions predictions{.classes = std::move(classes), .rows = {}};
  for (size_t i = 0; i < examples.size(); ++i) {
    const auto row = logits.subspan(i * width, width);
    if (!std::all_of(row.begin(), row.end(), [](float logit) { return std::isfinite(logit); })) {
      throw RunError(
          "the logits of example {} are not numbers; the training diverged, or the "
          "weights are damaged",
          examples[i].id);
    }
    predictions.rows.push_back({.id = examples[i].id,
                                .group = examples[i].group,
                                .logits = std::vector<double>(row.begin(), row.end()),
                                .label = examples[i].label});
  }
  return predictions;
}

std::vector<double> read_logits(const nlohmann::json& object, const std::string& place,
                                FileMistakes& mistakes) {
  std::vector<double> logits;
  const auto found = object.find("logits");
  const auto is_number = [](const nlohmann::json& value) { return value.is_number(); };
  if (found == object.end() || !found->is_array() ||
      !std::all_of(found->begin(), found->end(), is_number)) {
    mistakes.add(place, "\"logits\" must be a list of numbers");
    return logits;
  }
  return found->get<std::vector<double>>();
}

class ClassPredictionsReader {
 public:
  explicit ClassPredictionsReader(const std::string& path) : path_(path), mistakes_(path) {}

  ClassPredictions read() {
    read_json_lines(path_, mistakes_, [&](const nlohmann::json& object, int64_t line) {
      read_line(object, fmt::format("line {}", line));
    });
    mistakes_.raise_if_any();
    if (predictions_.rows.empty()) throw UsageError("{}: holds no prediction", path_);
    return std::move(predictions_);
  }

 private:
  void read_line(const nlohmann::json& object, const std::string& place) {
    const JsonPlace top(object, place, mistakes_);
    const auto classes = top.texts("classes");
    if (predictions_.rows.empty()) predictions_.classes = classes;
    ClassPrediction row{.id = top.text("id"),
                        .group = object.contains("group") ? top.text("group") : "",
                        .logits = read_logits(object, place, mistakes_)};
    if (classes != predictions_.classes || row.logits.size() != classes.size()) {
      mistakes_.add(place, fmt::format("has the classes {} and {} logits; the first line has the "
                                       "classes {}",
                                       fmt::join(classes, ", "), row.logits.size(),
                                       fmt::join(predictions_.classes, ", ")));
    }
    set_label(row, object, place);
    if (!seen_.insert({key_of(row), place}).second) {
      mistakes_.add(place, fmt::format("{} was there before", name_of(row)));
    }
    predictions_.rows.push_back(std::move(row));
  }

  void set_label(ClassPrediction& row, const nlohmann::json& object, const std::string& place) {
    const auto found = object.find("label");
    if (found == object.end() || found->is_null()) return;
    const auto& classes = predictions_.classes;
    const auto known = found->is_string()
                           ? std::find(classes.begin(), classes.end(), found->get<std::string>())
                           : classes.end();
    if (known == classes.end()) {
      mistakes_.add(place, fmt::format("\"label\" is {}, and the classes are {}", shown(*found),
                                       fmt::join(classes, ", ")));
      return;
    }
    row.label = known - classes.begin();
  }

  std::string path_;
  FileMistakes mistakes_;
  std::map<Key, std::string> seen_;
  ClassPredictions predictions_;
};

/// `other` in the order of `first`.
std::vector<const ClassPrediction*> matched(const std::string& first_path,
                                            const ClassPredictions& first, const std::string& path,
                                            const ClassPredictions& other) {
  if (other.classes != first.classes) {
    throw UsageError("{}: has the classes {}, and {} has {}; average predictions of one task", path,
                     fmt::join(other.classes, ", "), first_path, fmt::join(first.classes, ", "));
  }
  std::map<Key, const ClassPrediction*> by_key;
  for (const auto& row : other.rows) by_key[key_of(row)] = &row;
  if (other.rows.size() != first.rows.size()) {
    throw UsageError("{}: has {} examples, and {} has {}; average predictions of the same data",
                     path, other.rows.size(), first_path, first.rows.size());
  }
  std::vector<const ClassPrediction*> rows;
  for (const auto& row : first.rows) {
    const auto found = by_key.find(key_of(row));
    if (found == by_key.end()) {
      throw UsageError("{}: has no example {}, which {} has; average predictions of the same data",
                       path, name_of(row), first_path);
    }
    if (found->second->label != row.label) {
      throw UsageError(
          "{}: example {} has another label than in {}; average predictions of the "
          "same data",
          path, name_of(row), first_path);
    }
    rows.push_back(found->second);
  }
  return rows;
}

}  // namespace

std::vector<double> ClassPrediction::probabilities() const {
  if (logits.empty()) return {};
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> result;
  double total = 0;
  for (const double logit : logits) total += result.emplace_back(std::exp(logit - largest));
  for (double& value : result) value /= total;
  return result;
}

int64_t ClassPrediction::best() const {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

ClassPredictions class_predictions(const ClassificationSet& set, std::span<const float> logits) {
  return with_logits(set.classes, set.examples, logits);
}

ClassPredictions class_predictions(const ChoiceSet& set, std::span<const float> logits) {
  std::vector<std::string> classes;
  for (int64_t i = 0; i < set.num_choices; ++i) classes.push_back(std::to_string(i));
  return with_logits(std::move(classes), set.questions, logits);
}

void write_class_predictions(const std::string& path, const ClassPredictions& predictions) {
  AtomicFile file(path);
  for (const auto& row : predictions.rows) {
    nlohmann::ordered_json object = {{"id", row.id}};
    if (!row.group.empty()) object["group"] = row.group;
    object["classes"] = predictions.classes;
    object["logits"] = row.logits;
    object["probabilities"] = row.probabilities();
    object["prediction"] = predictions.classes.at(static_cast<size_t>(row.best()));
    object["label"] =
        row.label ? nlohmann::ordered_json(predictions.classes.at(static_cast<size_t>(*row.label)))
                  : nlohmann::ordered_json();
    file.write(object.dump());
    file.write("\n");
  }
  file.commit();
}

ClassPredictions read_class_predictions(const std::string& path) {
  return ClassPredictionsReader(path).read();
}

ClassPredictions average_class_predictions(const std::vector<std::string>& paths) {
  if (paths.empty()) throw UsageError("there are no predictions to average; name their files");
  ClassPredictions mean = read_class_predictions(paths.front());
  std::vector<std::vector<double>> sums;
  for (const auto& row : mean.rows) sums.push_back(row.probabilities());
  for (size_t file = 1; file < paths.size(); ++file) {
    const ClassPredictions other = read_class_predictions(paths[file]);
    const auto rows = matched(paths.front(), mean, paths[file], other);
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto probabilities = rows[i]->probabilities();
      for (size_t c = 0; c < probabilities.size(); ++c) sums[i][c] += probabilities[c];
    }
  }
  // A probability may round to nothing; its logarithm must stay a number.
  constexpr double kLeast = 1e-300;
  for (size_t i = 0; i < sums.size(); ++i) {
    for (size_t c = 0; c < sums[i].size(); ++c) {
      const double probability = sums[i][c] / static_cast<double>(paths.size());
      mean.rows[i].logits[c] = std::log(std::max(probability, kLeast));
    }
  }
  return mean;
}

void write_glue_submission(const std::string& path, const ClassPredictions& predictions) {
  AtomicFile file(path);
  file.write("index\tprediction\n");
  for (const auto& row : predictions.rows) {
    file.write(
        fmt::format("{}\t{}\n", row.id, predictions.classes.at(static_cast<size_t>(row.best()))));
  }
  file.commit();
}

}  // namespace megalith

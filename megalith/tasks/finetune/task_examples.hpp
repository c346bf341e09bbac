// The examples of a task's files as rows for the model, and the way back from its logits to
// predictions, files and scores.
//
// What the loop sees of a task: rows of sequences with a label, and score(). Reading, features and
// metrics are the task's own (classification.hpp, choice_questions.hpp, squad.hpp and on). Knows no
// tensor and no rank.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "megalith/tasks/finetune/task_config.hpp"

namespace megalith {

/// One example for the model.
struct TaskRow {
  std::span<const TokenFeatures> sequences;  // one; of choices one each
  std::vector<int64_t> label;  // the class or choice; first and last place; empty: not labelled
};

/// Where predictions go: FOLDER/PART_predictions.jsonl and the like.
struct PredictionFiles {
  std::string folder, part;  // "dev", "test"
};

class TaskExamples {
 public:
  virtual ~TaskExamples() = default;

  virtual size_t size() const = 0;  // rows
  virtual TaskRow row(size_t index) const = 0;
  /// Classes, or choices of every question; 0 for spans.
  virtual int64_t num_outputs() const = 0;
  /// Whether every example has a label.
  virtual bool is_labelled() const = 0;
  /// What there is to say about the files: examples, what was left out or cut, a line each.
  virtual std::vector<std::string> notes() const = 0;

  /// From the logits of every row, in order, to the scores by their names ({"total"} without
  /// labels). A row's logits are one for each class or choice; of spans those of each place as a
  /// start, then those as an end. Writes the predictions when `files` are given. `config` is the
  /// task's with the threshold of SQuAD 2.0 when it is known. Throws RunError when a logit is not a
  /// number.
  using Logits = std::vector<std::vector<float>>;
  virtual nlohmann::ordered_json score(const Logits& logits, const TaskConfig& config,
                                       const PredictionFiles* files) const = 0;
};

enum class TaskUse { kTraining, kEvaluation };

/// Reads files of the task. For training every example must have a label. Throws UsageError listing
/// the mistakes of the files.
std::unique_ptr<TaskExamples> read_task_examples(const TaskConfig& config,
                                                 const std::vector<std::string>& paths,
                                                 const Tokenizer& tokenizer, int64_t seq_length,
                                                 TaskUse use);

/// The classes of one's own training file, when the flags do not name them: for config.classes.
/// Nothing for other tasks.
std::vector<std::string> classes_of(const TaskConfig& config);

/// The name of a prediction's group by its file: "matched" and "mismatched" where the name says so,
/// else the name without its ending; "" for a single file.
std::string group_of(const std::string& path, size_t num_files);

/// FOLDER/PART_predictions.jsonl, or of spans FOLDER/PART_span_logits.jsonl: what an ensemble
/// averages.
std::string averaged_file(const TaskConfig& config, const PredictionFiles& files);

/// The scores of the average of saved predictions; of spans for the dataset `data`, whose windows
/// are made as the models saw them. Throws UsageError when the files do not belong together.
nlohmann::ordered_json score_ensemble(const TaskConfig& config,
                                      const std::vector<std::string>& predictions,
                                      const std::vector<std::string>& data,
                                      const Tokenizer* tokenizer, int64_t seq_length,
                                      const PredictionFiles* files);

}  // namespace megalith

// Which task is fine-tuned, and the flags that belong to it alone.
//
// The six tasks are rows of one table; what differs between them is data here and in
// task_examples.hpp, never the loop. Model, batch, learning rate and the rest are RunConfig's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "megalith/tasks/finetune/choice_questions.hpp"
#include "megalith/tasks/finetune/classification.hpp"
#include "megalith/tasks/finetune/features.hpp"
#include "megalith/tasks/finetune/squad_windows.hpp"

namespace megalith {

/// What the model says of an example: one of its classes, one of its choices, where an answer is.
enum class TaskHead { kClasses, kChoices, kSpans };

struct TaskRecipe {
  const char* name;
  const char* summary;
  TaskHead head;
  int64_t seq_length;  // of the public recipe
  const char* score;   // what runs are compared by, in the object of scores
  bool has_columns;    // one's own files
};

const std::vector<TaskRecipe>& task_recipes();
/// Throws UsageError that names the nearest.
const TaskRecipe& task_recipe(const std::string& name);

struct TaskConfig {
  std::string task;
  std::vector<std::string> train_data = {}, valid_data = {}, test_data = {};
  std::optional<std::string> pretrained_checkpoint = std::nullopt;
  int64_t epochs = 3;
  std::vector<int64_t> seeds = {};

  ClassificationColumns classification = {};
  ChoiceColumns choices = {};
  PairTruncation pair_truncation = PairTruncation::kLongerPart;
  int64_t max_qa_length = 128;
  SquadConfig squad = {};

  const TaskRecipe& recipe() const { return task_recipe(task); }
  /// What every task has: data, where to start from, epochs, seeds.
  FieldList run_fields();
  /// What this task has: columns, truncation, windows. Needs `task`.
  FieldList task_fields();
  /// All of them and the task's name: what a run records of itself.
  FieldList fields();
  /// Contradictions between them.
  void check(Problems& problems) const;
};

/// The seeds of the runs: those given, or as many as the one number says from `first` on; `first`
/// alone when none are given.
std::vector<int64_t> seeds_of(const TaskConfig& config, int64_t first);

}  // namespace megalith

// The runs of several seeds as one result: the paper reports the median dev score, and takes the
// test set from the checkpoint that has it (Megatron-LM, section 5.3).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "megalith/tasks/finetune/task_config.hpp"

namespace megalith {

struct SeedRun {
  int64_t seed = 0;
  std::string folder;              // of its checkpoints and predictions; "" when not saved
  nlohmann::ordered_json metrics;  // of FinetuneTask
};

/// The run with the median score, of an even number the lower of the two in the middle.
size_t median_run(const std::vector<double>& scores);

/// {"task", "score" (its name), "runs": [{"seed", "score", "folder"}], "median": {the same}, and
/// the "dev" and "test" of the median run}.
nlohmann::ordered_json summarize_seeds(const TaskConfig& config, const std::vector<SeedRun>& runs);

/// A line for each run and the median, for people.
std::string summary_text(const nlohmann::ordered_json& summary);

/// Writes FOLDER/metrics.json and copies of the median run's predictions beside it.
void write_summary(const std::string& folder, const nlohmann::ordered_json& summary);

}  // namespace megalith

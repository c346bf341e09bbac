#include "megalith/tasks/finetune/task_config.hpp"

#include <algorithm>
#include <set>

namespace megalith {
namespace {

constexpr double kMostEpochs = 100'000;
constexpr double kLargestSeed = 4294967295;  // as of --seed

}  // namespace

const std::vector<TaskRecipe>& task_recipes() {
  using enum TaskHead;
  static const std::vector<TaskRecipe> recipes{
      {"mnli", "does one sentence follow from another: GLUE's TSV", kClasses, 128, "accuracy",
       false},
      {"qqp", "do two questions mean the same: GLUE's TSV", kClasses, 128, "accuracy", false},
      {"squad", "SQuAD 1.1 and 2.0: find the answer in a paragraph", kSpans, 384, "f1", false},
      {"race", "RACE: choose the answer to a question about a text", kChoices, 512, "accuracy",
       false},
      {"multiple-choice", "choices of one's own: CSV, TSV or JSON lines", kChoices, 512, "accuracy",
       true},
      {"classification", "texts or pairs of one's own: CSV, TSV or JSON lines", kClasses, 128,
       "accuracy", true},
  };
  return recipes;
}

const TaskRecipe& task_recipe(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& recipe : task_recipes()) {
    if (name == recipe.name) return recipe;
    names.emplace_back(recipe.name);
  }
  const std::string near = nearest_name(name, names);
  throw UsageError("unknown task '{}'{}", name,
                   near.empty() ? fmt::format("; give one of {}", fmt::join(names, ", "))
                                : "; did you mean " + near + "?");
}

FieldList TaskConfig::run_fields() {
  return {
      {"train-data", &train_data, "The examples to train on: one or more files (RACE: folders)."},
      {"valid-data", &valid_data, "The dev examples, scored after every epoch."},
      {"test-data", &test_data, "Predicted after the last epoch, and scored where labelled."},
      {"pretrained-checkpoint", &pretrained_checkpoint,
       "The model to start from: a folder that megalith pretrain bert saved to, or that checkpoint "
       "import-hf made."},
      {"epochs", &epochs, "Times that all training examples are seen.", between(1, kMostEpochs)},
      {"seeds", &seeds,
       "Run once for each of these seeds, or for so many from --seed on, and report the median.",
       between(0, kLargestSeed)},
  };
}

FieldList TaskConfig::task_fields() {
  FieldList fields;
  const auto append = [&](FieldList more) {
    fields.insert(fields.end(), std::make_move_iterator(more.begin()),
                  std::make_move_iterator(more.end()));
  };
  const TaskRecipe& mine = recipe();
  if (mine.head == TaskHead::kClasses) {
    if (mine.has_columns) append(classification.fields());
    append({{"pair-truncation", choice(pair_truncation, {"end", "longer"}),
             "What a pair that is too long loses: its end, or the end of its longer text."}});
  }
  if (mine.head == TaskHead::kChoices) {
    if (mine.has_columns) append(choices.fields());
    append(
        {{"max-qa-length", &max_qa_length, "Pieces of a question with its choice.", at_least(1)}});
  }
  if (mine.head == TaskHead::kSpans) append(squad.fields());
  return fields;
}

FieldList TaskConfig::fields() {
  FieldList fields = run_fields();
  for (auto& field : task_fields()) fields.push_back(std::move(field));
  fields.push_back({"task", &task, "Which task."});
  return fields;
}

void TaskConfig::check(Problems& problems) const {
  if (train_data.empty()) problems.add_missing("train-data", "give the file to train on");
  if (valid_data.empty()) problems.add_missing("valid-data", "give the file of dev examples");
  if (recipe().head == TaskHead::kSpans) {
    const auto one = [&](const char* flag, const std::vector<std::string>& files) {
      if (files.size() > 1) problems.add("--{} takes one file of SQuAD's format", flag);
    };
    one("train-data", train_data);
    one("valid-data", valid_data);
    one("test-data", test_data);
  }
  const bool is_list = seeds.size() > 1;
  if (is_list && std::set<int64_t>(seeds.begin(), seeds.end()).size() != seeds.size()) {
    problems.add("--seeds {}: a seed comes twice; give different ones", fmt::join(seeds, " "));
  }
  constexpr int64_t kMostSeeds = 1000;
  if (seeds.size() == 1 && (seeds[0] < 1 || seeds[0] > kMostSeeds)) {
    problems.add(
        "--seeds {}: one number says how many, from 1 to {}; for a run with this seed "
        "give --seed",
        seeds[0], kMostSeeds);
  }
}

std::vector<int64_t> seeds_of(const TaskConfig& config, int64_t first) {
  if (config.seeds.size() > 1) return config.seeds;
  const int64_t count = config.seeds.empty() ? 1 : config.seeds[0];
  std::vector<int64_t> seeds;
  for (int64_t i = 0; i < count; ++i) seeds.push_back(first + i);
  return seeds;
}

}  // namespace megalith

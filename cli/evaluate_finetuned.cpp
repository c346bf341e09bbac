#include "cli/evaluate_finetuned.hpp"

#include <algorithm>
#include <filesystem>

#include "cli/command_line.hpp"
#include "cli/process_settings.hpp"
#include "cli/trained_model.hpp"
#include "megalith/core/output_path.hpp"
#include "megalith/tasks/finetune/json_input.hpp"
#include "megalith/tasks/finetune/task_predictions.hpp"
#include "megalith/tasks/report.hpp"
#include "megalith/training/run_config.hpp"

namespace megalith::cli {
namespace {

using Json = nlohmann::json;

/// What a run recorded, in its checkpoint's meta or its configuration.json.
struct RecordedRun {
  TaskConfig task;
  int64_t seq_length = 0, micro_batch_size = 8;
  TokenizerConfig tokenizer;
};

RecordedRun recorded_run(const Json& configuration, const std::string& source) {
  const auto section = configuration.find("Fine-tuning");
  if (section == configuration.end()) {
    throw UsageError("{}: holds no fine-tuned model; give a folder that megalith finetune saved to",
                     source);
  }
  RecordedRun run;
  run.task.task = section->at("task").get<std::string>();
  fields_from_json(run.task.fields(), *section, source);
  run.seq_length = configuration.at("Training").at("seq-length").get<int64_t>();
  const Json& batch = configuration.at("Batch size").at("micro-batch-size");
  if (batch.is_number()) run.micro_batch_size = batch.get<int64_t>();
  fields_from_json(run.tokenizer.fields(), configuration.at("Tokenizer"), source);
  return run;
}

struct Flags {
  TrainedModelFlags model;
  TokenizerConfig tokenizer;
  DistributedConfig distributed;
  TaskConfig task;
  std::vector<std::string> data, ensemble;
  std::optional<int64_t> seq_length, micro_batch_size;
  std::optional<std::string> predictions, report;
};

void add_flags(CommandLine& line, Flags& flags, const TaskRecipe& recipe) {
  line.section("Model", flags.model.fields());
  line.section(
      "Evaluation",
      {{"data", &flags.data, "The examples: files as for megalith finetune."},
       {"ensemble", &flags.ensemble,
        "Instead of --load: folders of fine-tuning runs, whose predictions for the dev data are "
        "averaged, or files of saved predictions."},
       {"predictions", &flags.predictions, "Write the predictions into this folder."},
       {"report", &flags.report, "Write the scores here as JSON as well; replaces a file."},
       {"seq-length", &flags.seq_length, "Tokens of a row.", between(1, kLongestSequence),
        "the run's"},
       {"micro-batch-size", &flags.micro_batch_size,
        "Examples that go through the model together on each data rank.", at_least(1),
        "the run's"}});
  line.section("Task (default: the run's)", flags.task.task_fields());
  line.section("Tokenizer (default: the checkpoint's)", flags.tokenizer.fields());
  line.section("Parallelism", flags.distributed.fields());
  line.foreign(model_shape_flags());
  line.foreign({{"valid-data", ForeignFlag::Kind::kOldSpelling, "data", -1}});
  line.run_file();
  const bool is_spans = recipe.head == TaskHead::kSpans;
  line.epilogue(
      fmt::format("Examples:\n"
                  "  megalith evaluate {0} --load run --data dev\n"
                  "  megalith evaluate {0} --ensemble run1 run2 run3{1}",
                  recipe.name, is_spans ? " --data dev" : ""));
}

/// The run's settings where the line says nothing else.
void apply(const CommandLine& line, Flags& flags, RecordedRun& run) {
  FieldList recorded = run.task.task_fields();
  const FieldList given = flags.task.task_fields();
  for (size_t i = 0; i < given.size(); ++i) {
    if (!line.given(given[i].name)) continue;
    if (const auto words = field_words(given[i])) set_field(recorded[i], *words);
  }
  run.seq_length = flags.seq_length.value_or(run.seq_length);
  run.micro_batch_size = flags.micro_batch_size.value_or(run.micro_batch_size);
}

/// apply(), when the run was of this task; else a mistake.
void apply_to_task(const CommandLine& line, Flags& flags, RecordedRun& run,
                   const std::string& source, Problems& problems) {
  if (run.task.task == flags.task.task) return apply(line, flags, run);
  problems.add("{}: was fine-tuned for {}; megalith evaluate {} scores it", source, run.task.task,
               run.task.task);
}

Report report_of(const Flags& flags, const nlohmann::ordered_json& scores) {
  Report report(flags.task.task);
  if (!flags.data.empty()) {
    report.add("data", fmt::format("{}", fmt::join(flags.data, " ")), "");
  }
  for (const auto& [name, value] : scores.items()) report.add(name, value, "");
  return report;
}

void tell(const Flags& flags, Report report) {
  fmt::print("{}", report.text());
  if (flags.report) report.write(*flags.report);
}

std::optional<PredictionFiles> prediction_files(const Flags& flags) {
  if (!flags.predictions) return std::nullopt;
  std::filesystem::create_directories(*flags.predictions);
  return PredictionFiles{*flags.predictions, "eval"};
}

void check_flags(const Flags& flags, const TaskRecipe& recipe, const LaunchEnvironment& environment,
                 Problems& problems) {
  const bool averages = !flags.ensemble.empty();
  if (averages && flags.model.load) {
    problems.add("--ensemble and --load exclude each other; give one");
  }
  if (!averages) flags.model.check(problems);
  const bool needs_data = !averages || recipe.head == TaskHead::kSpans;
  if (needs_data && flags.data.empty()) {
    problems.add_missing("data", "give the examples to evaluate on");
  }
  if (!needs_data && !flags.data.empty()) {
    problems.add("--data with --ensemble: the saved predictions say what the examples are");
  }
  if (recipe.head == TaskHead::kSpans && flags.data.size() > 1) {
    problems.add("--data takes one file of SQuAD's format");
  }
  if (averages && environment.world_size > 1) {
    problems.add("--ensemble is the work of one process; start one");
  }
  if (flags.predictions) {
    if (const auto why = why_no_folder(*flags.predictions)) {
      problems.add("--predictions {} cannot be written: {}", *flags.predictions, *why);
    }
  }
  if (flags.report) {
    if (const auto why = why_no_file(*flags.report)) {
      problems.add("--report {} cannot be written: {}", *flags.report, *why);
    }
  }
}

/// The folders of an ensemble as the files in them, and the run of the first folder.
std::optional<RecordedRun> find_predictions(const Flags& flags, std::vector<std::string>& files) {
  std::optional<RecordedRun> run;
  for (const auto& path : flags.ensemble) {
    if (!std::filesystem::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    files.push_back(averaged_file(flags.task, {path, "dev"}));
    const std::string record = path + "/configuration.json";
    if (!run) run = recorded_run(read_json_file(record), record);
  }
  return run;
}

int average(const CommandLine& line, Flags& flags, const TaskRecipe& recipe, Problems& problems) {
  std::vector<std::string> files;
  const auto found = find_predictions(flags, files);
  RecordedRun run = found.value_or(RecordedRun{});
  if (!found) {
    run.task = flags.task;
    run.seq_length = recipe.seq_length;
  }
  apply_to_task(line, flags, run, flags.ensemble.front(), problems);
  if (files.size() < 2) problems.add("--ensemble: give the predictions of two runs or more");
  problems.raise_if_any();
  std::unique_ptr<Tokenizer> tokenizer;
  if (recipe.head == TaskHead::kSpans) {
    tokenizer = make_tokenizer(flags.tokenizer.tokenizer_type ? flags.tokenizer : run.tokenizer);
  }
  const auto out = prediction_files(flags);
  const auto scores = score_ensemble(run.task, files, flags.data, tokenizer.get(), run.seq_length,
                                     out ? &*out : nullptr);
  Report report = report_of(flags, scores);
  report.add("models", files.size(), "whose predictions are averaged");
  tell(flags, report);
  return 0;
}

int evaluate(const CommandLine& line, Flags& flags, const LaunchEnvironment& environment,
             Problems& problems) {
  flags.distributed.check(environment, problems);
  std::optional<TrainedModel> model;
  std::optional<RecordedRun> run;
  std::unique_ptr<TaskExamples> examples;
  if (flags.model.load) {
    problems.collect([&] {
      model = open_trained_model(flags.model, flags.tokenizer,
                                 flags.distributed.tensor_model_parallel_size, problems,
                                 model_config_from);
      const auto& meta = model->checkpoint.meta();
      const auto& source = model->checkpoint.folder();
      run = recorded_run(meta.value("configuration", Json::object()), source);
      apply_to_task(line, flags, *run, source, problems);
      if (run->seq_length > model->config.max_position_embeddings) {
        problems.add("--seq-length {} is longer than the {} positions of the model of {}",
                     run->seq_length, model->config.max_position_embeddings, source);
      }
    });
  }
  if (run && problems.empty()) {
    problems.collect([&] {
      examples = read_task_examples(run->task, flags.data, *model->tokenizer, run->seq_length,
                                    TaskUse::kEvaluation);
      const int64_t classes = model->config.num_classes;
      if (classes > 0 && classes != examples->num_outputs()) {
        problems.add("the model has {} classes, and the data have {}", classes,
                     examples->num_outputs());
      }
    });
  }
  problems.raise_if_any();
  use_batch_scheduling();
  keep_freed_memory();
  Distributed distributed(flags.distributed, environment);
  distributed.require_same("what to evaluate",
                           fmt::format("{} {} {} {}", flags.task.task, model->comparable(),
                                       run->seq_length, examples->size()));
  distributed.run([&] {
    const auto bert = model->load<BertModel>(distributed);
    const auto logits = predict_examples(bert, distributed.groups(), *examples,
                                         {.micro_batch_size = run->micro_batch_size,
                                          .pad_id = special_ids(*model->tokenizer).pad,
                                          .seq_length = run->seq_length});
    distributed.on_first_rank("scoring", [&] {
      for (const auto& note : examples->notes()) fmt::print("{}\n", note);
      const auto out = prediction_files(flags);
      Report report = report_of(flags, examples->score(logits, run->task, out ? &*out : nullptr));
      report.add("checkpoint", model->checkpoint.folder(), "");
      tell(flags, report);
    });
  });
  return 0;
}

int run_task(const TaskRecipe& recipe, const Words& words) {
  Flags flags;
  flags.task.task = recipe.name;
  CommandLine line(fmt::format("megalith evaluate {}", recipe.name),
                   "Scores a fine-tuned model again, or the average of what several models said.");
  add_flags(line, flags, recipe);
  const LaunchEnvironment environment = read_launch_environment();
  Problems problems;
  if (!line.parse(words, problems, environment.rank == 0)) return 0;
  check_flags(flags, recipe, environment, problems);
  if (!flags.ensemble.empty()) return average(line, flags, recipe, problems);
  return evaluate(line, flags, environment, problems);
}

}  // namespace

bool asks_for_finetuned(const Words& words) {
  const auto begins = [](const std::string& word, const std::string& flag) {
    return word == flag || word.starts_with(flag + "=");
  };
  for (size_t i = 0; i < words.size(); ++i) {
    if (begins(words[i], "--ensemble")) return true;
    if (!begins(words[i], "--load")) continue;
    const bool is_next = words[i] == "--load";
    if (is_next && i + 1 == words.size()) return false;
    const std::string folder = is_next ? words[i + 1] : words[i].substr(sizeof("--load"));
    try {
      return model_config_from(Checkpoint::open(folder)).has_task_head();
    } catch (const UsageError&) {
      return false;  // told by whoever opens it in earnest
    }
  }
  return false;
}

int run_evaluate_classification(const Words& words) {
  return run_task(task_recipe("classification"), words);
}
int run_evaluate_finetuned_choices(const Words& words) {
  return run_task(task_recipe("multiple-choice"), words);
}
int run_evaluate_mnli(const Words& words) { return run_task(task_recipe("mnli"), words); }
int run_evaluate_qqp(const Words& words) { return run_task(task_recipe("qqp"), words); }
int run_evaluate_race(const Words& words) { return run_task(task_recipe("race"), words); }
int run_evaluate_squad(const Words& words) { return run_task(task_recipe("squad"), words); }

}  // namespace megalith::cli

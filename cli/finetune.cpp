// megalith finetune: a pretrained BERT on a task, with the trainer's own loop.
#include "cli/finetune_run.hpp"

#include <algorithm>
#include <set>

#include "cli/command_table.hpp"
#include "cli/commands.hpp"
#include "cli/foreign_flags.hpp"
#include "cli/training_run.hpp"
#include "megalith/planner/plan.hpp"

namespace megalith::cli {
namespace {

/// Flags of pretraining whose question a task answers.
struct Answered {
  const char* flag;
  const char* why;
};
constexpr Answered kAnswered[] = {
    {"train-iters", "the run is as long as its --epochs"},
    {"train-samples", "the run is as long as its --epochs"},
    {"rampup-batch-size", "epochs are made of batches of one size"},
    {"decrease-batch-size-if-needed", "epochs are made of batches of one size"},
    {"skip-train", "megalith evaluate TASK scores a saved model"},
    {"eval-interval", "the dev examples are scored after every epoch"},
    {"eval-iters", "all dev examples are scored"},
    {"finetune", "--pretrained-checkpoint says where to start from"},
    {"use-checkpoint-args", "the checkpoint always says what the model is"},
};

bool is_answered(const std::string& flag) {
  return std::any_of(std::begin(kAnswered), std::end(kAnswered),
                     [&](const Answered& answered) { return flag == answered.flag; });
}

/// The sections of a run without what is answered, and every flag upstream's scripts may bring.
void add_flags(CommandLine& line, RunConfig& config) {
  std::set<std::string> names;
  for (auto& [title, fields] : config.sections()) {
    FieldList kept;
    for (auto& field : fields) {
      if (is_answered(field.name) || field.name == "task") continue;
      // The checkpoint or the recipe has them.
      if (field.default_text == "required") field.default_text = "";
      names.insert(field.name);
      kept.push_back(field);
    }
    line.section(title, kept);
  }
  std::vector<ForeignFlag> foreign;
  for (auto& flag : pretrain_foreign_flags()) {
    if (!names.contains(flag.name) && !is_answered(flag.name)) foreign.push_back(std::move(flag));
  }
  const std::set<std::string> switches{"skip-train", "finetune", "use-checkpoint-args",
                                       "decrease-batch-size-if-needed"};
  for (const auto& [flag, why] : kAnswered) {
    foreign.push_back({flag, ForeignFlag::Kind::kRefused, why, switches.contains(flag) ? 0 : -1});
  }
  foreign.push_back(
      {"task", ForeignFlag::Kind::kIgnored, "the word after finetune names the task", 1});
  line.foreign(foreign);
}

int run_task(const TaskRecipe& recipe, const Words& words) {
  RunConfig config;
  TaskConfig task;
  task.task = recipe.name;
  config.training.seq_length = recipe.seq_length;
  config.task_sections = {{"Fine-tuning", task.fields()}};
  CommandLine line(fmt::format("megalith finetune {}", recipe.name),
                   fmt::format("Fine-tunes a pretrained BERT: {}. One process is one rank; start "
                               "several with megalith launch, torchrun, mpirun or srun.",
                               recipe.summary));
  add_flags(line, config);
  bool dry_run = false;
  line.section("Checking",
               {{"dry-run", &dry_run,
                 "Check everything, the examples too, print parameters, ranks, groups and expected "
                 "memory, and touch no device."}});
  line.run_file();
  line.epilogue(
      fmt::format("Example:\n"
                  "  megalith finetune {} --pretrained-checkpoint bert \\\n"
                  "    --train-data train --valid-data dev --save {} \\\n"
                  "    --micro-batch-size 8 --lr 3e-5 --lr-warmup-fraction 0.1",
                  recipe.name, recipe.name));
  const LaunchEnvironment environment = read_launch_environment();
  Problems problems;
  if (!line.parse(words, problems, environment.rank == 0)) return 0;
  FinetuneRun run(config, task);
  run.prepare(given_flags(line), environment, problems);
  if (!task.seeds.empty() && config.logging.metrics_file) {
    problems.add("--metrics-file with --seeds: every seed's run writes its own into --save");
  }
  if (!dry_run) config.distributed.check_device(environment, problems);
  check_outputs(config, environment, problems);
  problems.raise_if_any();
  if (environment.rank == 0) {
    for (const auto& note : run.notes()) fmt::print("{}\n", note);
  }
  tell_unused_settings(line, config, environment);
  if (dry_run) {
    fmt::print("{}", plan_text(run.plan(environment)));
    return 0;
  }
  run_on_ranks(
      config, environment, run.sizes(),
      [&](Distributed& distributed, const std::atomic<bool>& stop) { run.run(distributed, stop); });
  return 0;
}

template <size_t kIndex>
int run_recipe(const Words& words) {
  return run_task(task_recipes().at(kIndex), words);
}

}  // namespace

int run_finetune(const Words& words) {
  const auto& recipes = task_recipes();
  const TableCommand tasks[] = {
      {recipes[0].name, run_recipe<0>, recipes[0].summary},
      {recipes[1].name, run_recipe<1>, recipes[1].summary},
      {recipes[2].name, run_recipe<2>, recipes[2].summary},
      {recipes[3].name, run_recipe<3>, recipes[3].summary},
      {recipes[4].name, run_recipe<4>, recipes[4].summary},
      {recipes[5].name, run_recipe<5>, recipes[5].summary},
  };
  return run_from_table({"finetune", "task", "Fine-tunes a pretrained BERT on a task.", tasks},
                        words);
}

}  // namespace megalith::cli

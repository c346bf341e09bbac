// megalith pretrain: flags and run file to a RunConfig, checks, ranks, trainer.
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/foreign_flags.hpp"
#include "cli/training_run.hpp"
#include "megalith/checkpoint/model_io.hpp"
#include "megalith/planner/plan.hpp"
#include "megalith/training/pretraining_task.hpp"
#include "megalith/training/resume_settings.hpp"
#include "megalith/training/trainer.hpp"

namespace megalith::cli {
namespace {

/// --dry-run: what the run would be, and whether the checkpoint fits it.
void print_plan(RunConfig& config, const LaunchEnvironment& environment) {
  const auto tokenizer = make_tokenizer(config.tokenizer);
  config.model.vocab_size = tokenizer->vocab_size();
  const auto checkpoint = find_training_checkpoint(config.checkpoint);
  if (checkpoint) config.model.vocab_size = model_vocab_size(config.model.vocab_size, *checkpoint);
  const PlanRequest request = config.plan_request(environment.world_size);
  if (checkpoint) {
    const auto review = review_settings(
        config, request.layout, config.distributed.threads_of_rank(environment), *checkpoint);
    raise_mistakes(review, *checkpoint);
    fmt::print("{}", conflicts_text(review, *checkpoint));
  }
  fmt::print("{}", plan_text(request));
}

}  // namespace

int run_pretrain(const Words& words) {
  RunConfig config;
  std::vector<std::string> model;
  bool dry_run = false;
  CommandLine line(
      "megalith pretrain",
      "Trains a model on an indexed dataset (see megalith preprocess). One process is one "
      "rank; start several with megalith launch, torchrun, mpirun or srun.");
  line.positional("MODEL", model, "Which model to train: gpt or bert.", 1, 1);
  for (const auto& [title, fields] : config.sections()) line.section(title, fields);
  line.section("Checking",
               {{"dry-run", &dry_run,
                 "Check everything, print parameters, ranks, groups and expected memory, "
                 "and touch no device."}});
  line.foreign(pretrain_foreign_flags());
  line.run_file();
  line.epilogue(
      "Example:\n"
      "  megalith launch --nproc-per-node 2 pretrain gpt \\\n"
      "    --config configs/quickstart.toml --tensor-model-parallel-size 2 \\\n"
      "    --data-path my_text_document --save checkpoints");
  const LaunchEnvironment environment = read_launch_environment();
  Problems problems;
  if (!line.parse(words, problems, environment.rank == 0)) return 0;
  if (model.size() == 1 && model[0] != "gpt" && model[0] != "bert") {
    problems.add("'{}' is no model this program trains; give gpt or bert", model[0]);
  }
  if (model.size() == 1) config.choose_model(model[0]);
  take_checkpoint_args(config, given_flags(line), problems);
  config.resolve_and_check(environment, problems);
  if (!dry_run) config.distributed.check_device(environment, problems);
  check_tokenizer_files(config.tokenizer, problems);
  check_outputs(config, environment, problems);
  problems.raise_if_any();
  tell_unused_settings(line, config, environment);
  if (dry_run) {
    print_plan(config, environment);
    return 0;
  }
  run_on_ranks(config, environment, std::nullopt,
               [&](Distributed& distributed, const std::atomic<bool>& stop) {
                 PretrainingTask task;
                 Trainer trainer(config, task, distributed, stop);
                 train(trainer);
               });
  return 0;
}

}  // namespace megalith::cli

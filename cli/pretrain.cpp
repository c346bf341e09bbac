// megalith pretrain gpt: flags and run file to a RunConfig, checks, ranks, trainer.
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/foreign_flags.hpp"
#include "cli/interrupt.hpp"
#include "cli/process_settings.hpp"
#include "megalith/checkpoint/model_io.hpp"
#include "megalith/core/digest.hpp"
#include "megalith/core/output_path.hpp"
#include "megalith/planner/plan.hpp"
#include "megalith/training/resume_settings.hpp"
#include "megalith/training/trainer.hpp"
#include "megalith/training/unused_settings.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

namespace megalith::cli {
namespace {

/// Compares what every rank was told (its number of threads is its own), and names the first flag
/// that differs. Communicates through the store: every rank must call.
void require_same_configuration(Distributed& distributed, RunConfig& config) {
  nlohmann::json sections = config.to_json();
  sections.at("Parallelism").erase("num-threads");
  try {
    distributed.require_same("the configuration", sha256_hex(sections.dump()));
    return;
  } catch (const UsageError&) {
    // Every rank comes here, and all go through the flags in the same order.
  }
  try {
    for (const auto& [title, settings] : sections.items()) {
      for (const auto& [flag, value] : settings.items()) {
        distributed.require_same("--" + flag, value.dump());
      }
    }
  } catch (const UsageError&) {
    // Rank 0 serves the store that the others still read.
    if (distributed.environment().rank == 0) std::this_thread::sleep_for(std::chrono::seconds(1));
    throw;
  }
}

/// Whether a flag stood on the command line or in the run file, under any of its names.
std::function<bool(const std::string&)> given_flags(const CommandLine& line) {
  return [&line](const std::string& name) {
    const auto flags = pretrain_foreign_flags();
    return line.given(name) || std::any_of(flags.begin(), flags.end(), [&](const auto& flag) {
             return flag.kind == ForeignFlag::Kind::kOldSpelling && flag.text == name &&
                    line.given(flag.name);
           });
  };
}

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

/// Finds out now what would otherwise be found after hours: whether the outputs can be written.
void check_outputs(const RunConfig& config, const LaunchEnvironment& environment,
                   Problems& problems) {
  const auto refuse = [&](const char* flag, const std::string& path,
                          const std::optional<std::string>& why) {
    if (why) problems.add("--{} {} cannot be written: {}", flag, path, *why);
  };
  const auto& save = config.checkpoint.save;
  if (save) refuse("save", *save, why_no_folder(*save));
  // The rest is written by rank 0 alone, whose host may see other folders.
  if (environment.rank != 0 && environment.local_world_size != environment.world_size) return;
  // A cache that is there may be complete, and need not be written.
  const auto& cache = config.data.data_cache_path;
  std::error_code error;
  if (cache && !std::filesystem::is_directory(*cache, error)) {
    refuse("data-cache-path", *cache, why_no_folder(*cache));
  }
  const auto& metrics = config.logging.metrics_file;
  if (!metrics) return;
  // The run makes --save before it opens the metrics.
  const bool inside_save =
      save && std::filesystem::path(*metrics).parent_path().lexically_normal() ==
                  (std::filesystem::path(*save) / "").lexically_normal().parent_path();
  if (!inside_save) refuse("metrics-file", *metrics, why_no_file(*metrics));
}

/// A mistake that only showed once training had begun ends it as a failure.
void train(Trainer& trainer) {
  try {
    trainer.run();
  } catch (const UsageError& error) {
    throw RunError(error.what());
  }
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
  line.positional("MODEL", model, "Which model to train: gpt.", 1, 1);
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
  if (model.size() == 1 && model[0] != "gpt") {
    problems.add("'{}' is no model this program trains; give gpt", model[0]);
  }
  take_checkpoint_args(config, given_flags(line), problems);
  config.resolve_and_check(environment, problems);
  if (!dry_run) config.distributed.check_device(environment, problems);
  check_tokenizer_files(config.tokenizer, problems);
  check_outputs(config, environment, problems);
  problems.raise_if_any();
  if (environment.rank == 0) {
    for (const auto& sentence : unused_settings(config, given_flags(line))) {
      fmt::print(stderr, "notice: {}\n", sentence);
    }
  }
  if (dry_run) {
    print_plan(config, environment);
    return 0;
  }
  const InterruptFlag interrupt(
      environment.rank == 0 ? "stopping after this iteration; a second signal ends at once" : "");
  use_batch_scheduling();
  keep_freed_memory();
  Distributed distributed(config.distributed, environment);
  require_same_configuration(distributed, config);
  distributed.run([&] {
    Trainer trainer(config, distributed, interrupt.raised());
    train(trainer);
  });
  return 0;
}

}  // namespace megalith::cli

#include "cli/training_run.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/foreign_flags.hpp"
#include "cli/interrupt.hpp"
#include "cli/process_settings.hpp"
#include "megalith/core/digest.hpp"
#include "megalith/core/output_path.hpp"
#include "megalith/training/unused_settings.hpp"

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

}  // namespace

std::function<bool(const std::string&)> given_flags(const CommandLine& line) {
  return [&line](const std::string& name) {
    const auto flags = pretrain_foreign_flags();
    return line.given(name) || std::any_of(flags.begin(), flags.end(), [&](const auto& flag) {
             return flag.kind == ForeignFlag::Kind::kOldSpelling && flag.text == name &&
                    line.given(flag.name);
           });
  };
}

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

void tell_unused_settings(const CommandLine& line, const RunConfig& config,
                          const LaunchEnvironment& environment) {
  if (environment.rank != 0) return;
  for (const auto& sentence : unused_settings(config, given_flags(line))) {
    fmt::print(stderr, "notice: {}\n", sentence);
  }
}

void run_on_ranks(RunConfig& config, const LaunchEnvironment& environment,
                  const std::optional<std::string>& inputs,
                  const std::function<void(Distributed&, const std::atomic<bool>& stop)>& body) {
  const InterruptFlag interrupt(
      environment.rank == 0 ? "stopping after this iteration; a second signal ends at once" : "");
  use_batch_scheduling();
  keep_freed_memory();
  Distributed distributed(config.distributed, environment);
  require_same_configuration(distributed, config);
  if (inputs) distributed.require_same("the examples", *inputs);
  distributed.run([&] { body(distributed, interrupt.raised()); });
}

void train(Trainer& trainer) {
  try {
    trainer.run();
  } catch (const UsageError& error) {
    throw RunError(error.what());
  }
}

}  // namespace megalith::cli

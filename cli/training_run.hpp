// What the subcommands that train have in common around the trainer: which flags were given,
// whether outputs can be written, whether every rank was told the same.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>

#include "cli/command_line.hpp"
#include "megalith/training/trainer.hpp"

namespace megalith::cli {

/// Whether a flag stood on the command line or in the run file, under any of its names.
std::function<bool(const std::string&)> given_flags(const CommandLine& line);

/// Finds out now what would otherwise be found after hours: whether the outputs can be written.
void check_outputs(const RunConfig& config, const LaunchEnvironment& environment,
                   Problems& problems);

/// Says on rank 0 which settings the run makes no use of.
void tell_unused_settings(const CommandLine& line, const RunConfig& config,
                          const LaunchEnvironment& environment);

/// Joins the other ranks, compares the configuration and `inputs` (when there is something to say
/// of them), and runs `body` with the flag that a signal raises. Communicates: world.
void run_on_ranks(RunConfig& config, const LaunchEnvironment& environment,
                  const std::optional<std::string>& inputs,
                  const std::function<void(Distributed&, const std::atomic<bool>& stop)>& body);

/// Runs the trainer; a mistake that only shows once training has begun ends it as a failure.
void train(Trainer& trainer);

}  // namespace megalith::cli

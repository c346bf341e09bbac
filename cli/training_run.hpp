// What the subcommands that train have in common around the trainer: which flags were given,
// whether outputs can be written, whether every rank was told the same.
#pragma once

#include <functional>
#include <string>

#include "cli/command_line.hpp"
#include "megalith/training/trainer.hpp"

namespace megalith::cli {

/// Whether a flag stood on the command line or in the run file, under any of its names.
std::function<bool(const std::string&)> given_flags(const CommandLine& line);

/// Finds out now what would otherwise be found after hours: whether the outputs can be written.
void check_outputs(const RunConfig& config, const LaunchEnvironment& environment,
                   Problems& problems);

/// Compares what every rank was told (its number of threads is its own), and names the first flag
/// that differs. Communicates through the store: every rank must call.
void require_same_configuration(Distributed& distributed, RunConfig& config);

/// Runs the trainer; a mistake that only shows once training has begun ends it as a failure.
void train(Trainer& trainer);

}  // namespace megalith::cli

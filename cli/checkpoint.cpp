// megalith checkpoint: picks the command; each has a file checkpoint_*.cpp.
#include "cli/command_table.hpp"
#include "cli/commands.hpp"

namespace megalith::cli {
namespace {

// clang-format off
constexpr TableCommand kCommands[] = {
    {"inspect", run_checkpoint_inspect,
     "DIR: iteration, configuration, tensors; --verify the checksums"},
    {"list", run_checkpoint_list,
     "DIR: the checkpoints of a save folder"},
    {"diff", run_checkpoint_diff,
     "A B: configuration, and the largest difference of each tensor"},
    {"import-hf", run_import_hf,
     "PATH --save DIR: a checkpoint of a Hugging Face model"},
    {"export-hf", run_export_hf,
     "--load DIR --save DIR: a Hugging Face model of a checkpoint"},
    {"convert", run_checkpoint_convert,
     "upstream's format to ours; ours in other files or types"},
};
// clang-format on

}  // namespace

int run_checkpoint(const Words& words) {
  return run_from_table(
      {"checkpoint", "command", "Look at saved checkpoints, convert them, bring models in and out.",
       kCommands},
      words);
}

}  // namespace megalith::cli

// A subcommand that has commands of its own: megalith data, checkpoint, evaluate.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace megalith::cli {

struct TableCommand {
  const char* name;
  int (*run)(const std::vector<std::string>& words);
  const char* summary;
};

struct CommandTable {
  const char* subcommand;  // "checkpoint"
  const char* kind;        // what one of its commands is called: "command", "task"
  const char* summary;
  std::span<const TableCommand> commands;
};

/// Runs the command that the first word names with the words after it, or prints the table: on
/// standard error and with status 2 when there is no word. Throws UsageError, which names the
/// nearest, for a word that is no command.
int run_from_table(const CommandTable& table, const std::vector<std::string>& words);

}  // namespace megalith::cli

#include "cli/command_table.hpp"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <string_view>

#include "megalith/core/error.hpp"
#include "megalith/core/fields.hpp"

namespace megalith::cli {
namespace {

void print_help(const CommandTable& table, FILE* out) {
  std::string upper = table.kind;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  size_t width = 0;
  for (const auto& command : table.commands) {
    width = std::max(width, std::string_view(command.name).size());
  }
  fmt::print(out, "Usage: megalith {} {} [flags]\n\n{}\n\n", table.subcommand, upper,
             table.summary);
  for (const auto& command : table.commands) {
    fmt::print(out, "  {:<{}}  {}\n", command.name, width, command.summary);
  }
  fmt::print(out, "\nmegalith {} {} --help lists the flags of a {}.\n", table.subcommand, upper,
             table.kind);
}

}  // namespace

int run_from_table(const CommandTable& table, const std::vector<std::string>& words) {
  if (words.empty()) {
    print_help(table, stderr);
    return 2;
  }
  if (words[0] == "--help" || words[0] == "-h") {
    print_help(table, stdout);
    return 0;
  }
  std::vector<std::string> names;
  for (const auto& command : table.commands) {
    if (words[0] == command.name) return command.run({words.begin() + 1, words.end()});
    names.emplace_back(command.name);
  }
  const std::string near = nearest_name(words[0], names);
  throw UsageError("unknown {} '{} {}'{}", table.kind, table.subcommand, words[0],
                   near.empty() ? fmt::format("; see megalith {} --help", table.subcommand)
                                : "; did you mean " + near + "?");
}

}  // namespace megalith::cli

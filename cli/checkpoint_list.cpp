// megalith checkpoint list: a line for each checkpoint of a save folder, and what is wrong there.
#include <algorithm>
#include <filesystem>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "megalith/checkpoint/checkpoint_folder.hpp"
#include "megalith/checkpoint/description.hpp"

namespace megalith::cli {
namespace {

/// What the file that names the latest says; a mistake in it is a line of the list like any other.
std::optional<int64_t> latest_or_mistake(const std::string& folder, std::string& mistake) {
  try {
    return latest_iteration(folder);
  } catch (const UsageError& error) {
    mistake = error.what();
    return std::nullopt;
  }
}

}  // namespace

int run_checkpoint_list(const Words& words) {
  std::vector<std::string> folders;
  CommandLine command("megalith checkpoint list",
                      "Print the checkpoints of a save folder. Exit status 2 when one is damaged.");
  command.positional("DIR", folders, "a save folder", 1, 1);
  if (!command.parse(words)) return 0;
  const std::string& folder = folders.front();
  if (!std::filesystem::is_directory(folder)) throw UsageError("{}: is not a folder", folder);
  const auto iterations = complete_iterations(folder);
  const auto unfinished = unfinished_saves(folder);
  if (iterations.empty() && unfinished.empty()) {
    find_checkpoint(folder, latest_iteration(folder));  // says what is there instead
    throw UsageError(
        "{}: is one checkpoint; give the folder that holds it, or see checkpoint "
        "inspect",
        folder);
  }
  std::vector<std::string> mistakes(1);
  const auto latest = latest_or_mistake(folder, mistakes.front());
  fmt::print("{:>9}  {:>10}  {:>7}  saved by\n", "iteration", "size", "tensors");
  for (const int64_t iteration : iterations) {
    try {
      const auto checkpoint = Checkpoint::open(folder, iteration, false);
      checkpoint.check_files();
      const Manifest& manifest = checkpoint.manifest();
      fmt::print("{:>9}  {:>10}  {:>7}  {}{}\n", iteration, bytes_text(total_bytes(manifest)),
                 manifest.tensors.size(), layout_text(manifest.layout),
                 latest == iteration ? "  (latest)" : "");
    } catch (const UsageError& error) {
      fmt::print("{:>9}  not usable{}\n", iteration, latest == iteration ? "  (latest)" : "");
      mistakes.emplace_back(error.what());
    }
  }
  for (const auto& name : unfinished) fmt::print("{}: not complete\n", name);
  if (latest && std::find(iterations.begin(), iterations.end(), *latest) == iterations.end()) {
    mistakes.push_back(
        fmt::format("iteration {} is named as the latest, and is not there", *latest));
  }
  std::erase(mistakes, "");
  for (const auto& mistake : mistakes) fmt::print("{}\n", mistake);
  return mistakes.empty() ? 0 : 2;
}

}  // namespace megalith::cli

// megalith checkpoint: look at saved checkpoints, and the commands that write some. The work is in
// megalith/checkpoint.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/checkpoint_convert.hpp"
#include "cli/command_line.hpp"
#include "cli/command_table.hpp"
#include "cli/commands.hpp"
#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/checkpoint/compare.hpp"
#include "megalith/checkpoint/manifest.hpp"
#include "megalith/checkpoint/safetensors.hpp"

namespace megalith::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string bytes_text(int64_t bytes) {
  const char* const kUnits[] = {"bytes", "kB", "MB", "GB", "TB"};
  auto size = static_cast<double>(bytes);
  size_t unit = 0;
  for (; size >= 1000 && unit < 4; ++unit) size /= 1000;
  return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.2f} {}", size, kUnits[unit]);
}

int64_t total_bytes(const Manifest& manifest) {
  int64_t bytes = 0;
  for (const auto& file : manifest.files) bytes += file.bytes;
  return bytes;
}

std::string layout_text(const Layout& layout) {
  std::string text = fmt::format("tensor {} x data {}", layout.tensor, layout.data);
  if (layout.context > 1) text += fmt::format(" x context {}", layout.context);
  if (layout.pipeline > 1) text += fmt::format(" x pipeline {}", layout.pipeline);
  return text;
}

/// Number of tensors and elements, and the types, of each kind.
struct KindSummary {
  int64_t num_tensors = 0, num_elements = 0;
  std::map<std::string, int64_t> types = {};
};

std::map<std::string, KindSummary> summarize(const Manifest& manifest) {
  std::map<std::string, KindSummary> kinds;
  for (const auto& tensor : manifest.tensors) {
    auto& kind = kinds[tensor.kind];
    ++kind.num_tensors;
    kind.num_elements += tensor.num_elements();
    ++kind.types[safetensors_dtype_name(tensor.dtype)];
  }
  return kinds;
}

Json describe(const Checkpoint& checkpoint, bool verified) {
  const Manifest& manifest = checkpoint.manifest();
  const Layout& layout = manifest.layout;
  Json report;
  report["format"] = "megalith checkpoint";
  report["folder"] = checkpoint.folder();
  report["iteration"] = checkpoint.iteration();
  report["checksums_verified"] = verified;
  report["layout"] = {{"tensor", layout.tensor},
                      {"context", layout.context},
                      {"data", layout.data},
                      {"pipeline", layout.pipeline}};
  report["bytes"] = total_bytes(manifest);
  for (const auto& [name, kind] : summarize(manifest)) {
    report["kinds"][name] = {{"tensors", kind.num_tensors}, {"elements", kind.num_elements}};
  }
  report["files"] = Json::array();
  for (const auto& file : manifest.files) {
    report["files"].push_back({{"name", file.name}, {"bytes", file.bytes}});
  }
  report["tensors"] = Json::array();
  for (const auto& tensor : manifest.tensors) {
    Json slices = Json::array();
    for (const auto& slice : tensor.slices) {
      slices.push_back({{"file", manifest.files[static_cast<size_t>(slice.file)].name},
                        {"key", slice.key},
                        {"offset", slice.offset},
                        {"length", slice.length}});
    }
    report["tensors"].push_back({{"name", tensor.name},
                                 {"kind", tensor.kind},
                                 {"dtype", safetensors_dtype_name(tensor.dtype)},
                                 {"shape", tensor.shape},
                                 {"slices", std::move(slices)}});
  }
  report["meta"] = checkpoint.meta();
  return report;
}

void print_description(const Checkpoint& checkpoint, bool verified) {
  const Manifest& manifest = checkpoint.manifest();
  fmt::print("{}\n", checkpoint.folder());
  fmt::print("  {:<11}megalith checkpoint of iteration {}\n", "what", checkpoint.iteration());
  fmt::print("  {:<11}{} ranks: {}\n", "saved by", manifest.layout.world_size(),
             layout_text(manifest.layout));
  for (const auto& [name, kind] : summarize(manifest)) {
    std::vector<std::string> types;
    for (const auto& [type, count] : kind.types) types.push_back(type);
    fmt::print("  {:<11}{} tensors, {} elements, {}\n", name, kind.num_tensors, kind.num_elements,
               fmt::join(types, " and "));
  }
  fmt::print("  {:<11}{}, {} in all\n", "files", manifest.files.size(),
             bytes_text(total_bytes(manifest)));
  fmt::print("  {:<11}{}\n", "checksums",
             verified ? "every byte is as it was written"
                      : "headers are right; --verify reads every byte");
  fmt::print("\nConfiguration\n");
  const auto settings = flatten_json(checkpoint.meta());
  size_t width = 0;
  for (const auto& [path, text] : settings) width = std::max(width, path.size());
  for (const auto& [path, text] : settings) fmt::print("  {:<{}}  {}\n", path, width, text);
  fmt::print("\nTensors\n");
  width = 0;
  for (const auto& tensor : manifest.tensors) width = std::max(width, tensor.name.size());
  for (const auto& tensor : manifest.tensors) {
    fmt::print("  {:<{}}  {:<4}  [{}]{}\n", tensor.name, width,
               safetensors_dtype_name(tensor.dtype), fmt::join(tensor.shape, ", "),
               tensor.slices.size() == 1 ? "" : fmt::format(" in {} slices", tensor.slices.size()));
  }
}

int run_inspect(const Words& words) {
  std::vector<std::string> folders;
  bool verify = false, as_json = false;
  std::optional<int64_t> step;
  CommandLine command("megalith checkpoint inspect",
                      "Print what a checkpoint is: iteration, ranks that saved it, configuration, "
                      "and its tensors with types and shapes.");
  command.positional("DIR", folders, "a save folder, or one iter_... folder in it", 1, 1);
  command.section("Inspect",
                  {{"verify", &verify, "Read every byte and compare its checksum."},
                   {"ckpt-step", &step, "The iteration to look at.", at_least(0), "the latest"},
                   {"json", &as_json, "Print one JSON object, with the slices of every tensor."}});
  if (!command.parse(words)) return 0;
  const auto checkpoint = Checkpoint::open(folders.front(), step, verify);
  checkpoint.check_files();
  if (verify) checkpoint.verify_all();
  if (as_json) {
    fmt::print("{}\n", describe(checkpoint, verify).dump(1));
  } else {
    print_description(checkpoint, verify);
  }
  return 0;
}

/// What the file that names the latest says; a mistake in it is a line of the list like any other.
std::optional<int64_t> latest_or_mistake(const std::string& folder, std::string& mistake) {
  try {
    return latest_iteration(folder);
  } catch (const UsageError& error) {
    mistake = error.what();
    return std::nullopt;
  }
}

int run_list(const Words& words) {
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

void print_difference(const TensorDifference& tensor, size_t width) {
  using Kind = TensorDifference::Kind;
  fmt::print("  {:<{}}  ", tensor.name, width);
  switch (tensor.kind) {
    case Kind::kIdentical:
      break;
    case Kind::kSameValues:
      fmt::print("same values, other bits\n");
      break;
    case Kind::kDifferent:
      fmt::print("absolute {:.3g}, relative {:.3g}, {} of {} differ{}{}\n", tensor.absolute,
                 tensor.relative, tensor.num_different, tensor.num_elements,
                 tensor.note.empty() ? "" : "; ", tensor.note);
      break;
    case Kind::kOtherShape:
      fmt::print("shapes {}\n", tensor.note);
      break;
    case Kind::kOnlyInA:
      fmt::print("only in A\n");
      break;
    case Kind::kOnlyInB:
      fmt::print("only in B\n");
      break;
  }
}

int run_diff(const Words& words) {
  std::vector<std::string> folder_a, folder_b;
  CommandLine command("megalith checkpoint diff",
                      "Compare two checkpoints: configuration, and for each tensor the largest "
                      "absolute and relative difference. The layouts that saved them may differ.");
  command.positional("A", folder_a, "a save folder (its latest) or an iter_... folder", 1, 1);
  command.positional("B", folder_b, "the same", 1, 1);
  if (!command.parse(words)) return 0;
  const auto a = Checkpoint::open(folder_a[0]), b = Checkpoint::open(folder_b[0]);
  fmt::print("A  {}  iteration {}\nB  {}  iteration {}\n", a.folder(), a.iteration(), b.folder(),
             b.iteration());
  const auto settings = compare_settings(a.meta(), b.meta());
  fmt::print("\nConfiguration: {}\n", settings.empty() ? "the same" : "");
  for (const auto& [path, of_a, of_b] : settings) fmt::print("  {}: {} -> {}\n", path, of_a, of_b);

  const auto tensors = compare_tensors(a, b);
  size_t width = 0, num_identical = 0;
  for (const auto& tensor : tensors) {
    width = std::max(width, tensor.name.size());
    num_identical += tensor.kind == TensorDifference::Kind::kIdentical;
  }
  fmt::print("\nTensors: {} of {} bit-identical\n", num_identical, tensors.size());
  for (const auto& tensor : tensors) {
    if (tensor.kind != TensorDifference::Kind::kIdentical) print_difference(tensor, width);
  }
  return 0;
}

// clang-format off
constexpr TableCommand kCommands[] = {
    {"inspect", run_inspect, "DIR: iteration, configuration, tensors; --verify the checksums"},
    {"list",    run_list,    "DIR: the checkpoints of a save folder"},
    {"diff",    run_diff,    "A B: configuration, and the largest difference of each tensor"},
    {"import-hf", run_import_hf, "PATH --save DIR: a checkpoint of a Hugging Face model"},
    {"export-hf", run_export_hf, "--load DIR --save DIR: a Hugging Face model of a checkpoint"},
    {"convert", run_checkpoint_convert, "upstream's format to ours; ours in other files or types"},
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

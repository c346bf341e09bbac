// megalith checkpoint inspect: flags and what is printed; megalith/checkpoint/description has the
// facts.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "megalith/checkpoint/compare.hpp"
#include "megalith/checkpoint/description.hpp"
#include "megalith/checkpoint/safetensors.hpp"

namespace megalith::cli {
namespace {

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

}  // namespace

int run_checkpoint_inspect(const Words& words) {
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

}  // namespace megalith::cli

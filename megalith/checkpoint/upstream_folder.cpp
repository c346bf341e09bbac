#include "megalith/checkpoint/upstream_folder.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

#include "megalith/checkpoint/checkpoint_folder.hpp"
#include "megalith/core/atomic_file.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRank = "mp_rank_";
/// With the distributed optimizer some releases kept the optimizer apart under the second name.
constexpr std::array kFileNames = {"model_optim_rng.pt", "model_rng.pt"};

std::vector<std::string> rank_folders(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (name.starts_with(kRank) && it->is_directory(ignored)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// The numbers of "mp_rank_01_003", or nothing.
std::optional<std::vector<int64_t>> rank_numbers(std::string_view name) {
  std::vector<int64_t> numbers;
  name.remove_prefix(kRank.size());
  while (true) {
    const size_t end = std::min(name.find('_'), name.size());
    const std::string_view digits = name.substr(0, end);
    const bool is_number = !digits.empty() && digits.size() <= 6 &&
                           digits.find_first_not_of("0123456789") == std::string_view::npos;
    if (!is_number) return std::nullopt;
    numbers.push_back(std::stoll(std::string(digits)));
    if (end == name.size()) return numbers;
    name.remove_prefix(end + 1);
  }
}

std::string rank_folder(int64_t tensor_rank, int64_t stage, bool has_stages) {
  return has_stages ? fmt::format("{}{:02d}_{:03d}", kRank, tensor_rank, stage)
                    : fmt::format("{}{:02d}", kRank, tensor_rank);
}

/// Upstream's newer formats, which hold no file per rank.
void refuse_newer_formats(const fs::path& folder) {
  if (!fs::exists(folder / "metadata.json") && !fs::exists(folder / ".metadata")) return;
  throw UsageError(
      "{}: is a checkpoint of Megatron-LM's torch_dist or torch_dcp format, which is not read; "
      "load "
      "it there and save it with --ckpt-format torch, then convert that",
      folder.string());
}

/// The name of the folder that latest_checkpointed_iteration.txt speaks of.
std::optional<std::string> latest_name(const fs::path& folder) {
  const fs::path tracker = folder / "latest_checkpointed_iteration.txt";
  if (!fs::exists(tracker)) return std::nullopt;
  if (read_text_file(tracker.string()).starts_with("release")) return "release";
  return iteration_name(*latest_iteration(folder.string()));
}

/// The one file of a rank's folder, or a problem.
std::string rank_file(const fs::path& folder, Problems& problems) {
  for (const char* name : kFileNames) {
    if (fs::exists(folder / name)) return (folder / name).string();
  }
  const bool has_optimizer =
      fs::exists(folder / "distrib_optim.pt") || fs::exists(folder / "optim.pt");
  problems.add("{}: {} is missing{}", folder.string(), kFileNames[0],
               !fs::exists(folder) ? ", with its folder: copy the files of all ranks"
               : has_optimizer ? "; only the distributed optimizer's state is there, which holds "
                                 "no weights in their shapes: copy the model's file, too"
                               : "; copy the files of all ranks");
  return "";
}

}  // namespace

std::optional<std::string> find_upstream_checkpoint(const std::string& folder,
                                                    std::optional<int64_t> iteration) {
  if (!fs::is_directory(folder)) return std::nullopt;
  if (!rank_folders(folder).empty()) return folder;
  refuse_newer_formats(folder);
  const auto name = iteration ? std::optional(iteration_name(*iteration)) : latest_name(folder);
  if (!name) return std::nullopt;
  const fs::path path = fs::path(folder) / *name;
  if (!rank_folders(path).empty()) return path.string();
  refuse_newer_formats(path);
  return std::nullopt;
}

UpstreamFolder list_upstream_files(const std::string& path, Problems& problems) {
  UpstreamFolder folder{.path = path, .files = {}};
  bool has_stages = false;
  for (const auto& name : rank_folders(path)) {
    const auto numbers = rank_numbers(name);
    if (!numbers || numbers->size() > 2 || (*numbers)[0] > 9999) {
      problems.add("{}: is {}", (fs::path(path) / name).string(),
                   numbers && numbers->size() == 3
                       ? "one of several expert-parallel ranks; experts are not read"
                       : "no folder of a rank that is known here");
      continue;
    }
    folder.tensor_size = std::max(folder.tensor_size, (*numbers)[0] + 1);
    if (numbers->size() == 2) {
      has_stages = true;
      folder.pipeline_size = std::max(folder.pipeline_size, (*numbers)[1] + 1);
    }
  }
  constexpr int64_t kMostFiles = 100'000;
  if (folder.tensor_size * folder.pipeline_size > kMostFiles) {
    problems.add("{}: names {} x {} ranks, more than are read", path, folder.tensor_size,
                 folder.pipeline_size);
    return folder;
  }
  for (int64_t stage = 0; stage < folder.pipeline_size; ++stage) {
    for (int64_t rank = 0; rank < folder.tensor_size; ++rank) {
      folder.files.push_back(
          rank_file(fs::path(path) / rank_folder(rank, stage, has_stages), problems));
    }
  }
  return folder;
}

}  // namespace megalith

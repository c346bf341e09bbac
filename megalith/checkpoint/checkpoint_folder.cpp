#include "megalith/checkpoint/checkpoint_folder.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "megalith/checkpoint/manifest.hpp"
#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTracker = "latest_checkpointed_iteration.txt";
constexpr const char* kTemporaryMark = ".tmp-";

std::optional<int64_t> parse_iteration(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '\r')) {
    text.remove_suffix(1);
  }
  int64_t iteration = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), iteration);
  if (error != std::errc() || end != text.data() + text.size() || iteration < 0) return {};
  return iteration;
}

std::vector<std::string> folder_names(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored)) names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool has_manifest(const fs::path& folder) { return fs::exists(folder / kManifestName); }

/// A folder as transformers' save_pretrained leaves it, a clone of a model hub's repository, or the
/// file of weights in one.
bool is_hugging_face(const fs::path& folder) {
  if (fs::is_regular_file(folder)) return folder.extension() == ".safetensors";
  if (!fs::exists(folder / "config.json")) return false;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") ||
        name.starts_with("pytorch_model")) {
      return true;
    }
  }
  return false;
}

/// The folder beside which a command can save, without a slash at its end.
std::string plain(const fs::path& folder) {
  return (folder.has_filename() ? folder : folder.parent_path()).string();
}

/// Why a folder without a manifest cannot be read.
std::string describe_foreign(const fs::path& folder) {
  if (!fs::exists(folder)) return "does not exist";
  if (is_hugging_face(folder)) {
    return fmt::format(
        "is a Hugging Face model; make a checkpoint of it, and load that: megalith checkpoint "
        "import-hf {0} --save {0}-megalith",
        plain(folder));
  }
  if (!fs::is_directory(folder)) return "is not a folder";
  for (const auto& name : folder_names(folder)) {
    if (name.starts_with("mp_rank_")) {
      return "is a checkpoint of Megatron-LM in Python's pickle format; make it one of ours by "
             "megalith checkpoint convert";
    }
  }
  if (fs::exists(folder / "metadata.json") || fs::exists(folder / ".metadata")) {
    return "is a torch_dist checkpoint of Megatron-LM, which is not read here";
  }
  return fmt::format("has no {}, so it is no complete megalith checkpoint", kManifestName);
}

std::string list_iterations(const std::string& folder) {
  const auto iterations = complete_iterations(folder);
  if (iterations.empty()) return "no complete checkpoint is there";
  return fmt::format("complete are {}", fmt::join(iterations, ", "));
}

}  // namespace

std::string iteration_name(int64_t iteration) { return fmt::format("iter_{:07d}", iteration); }

std::optional<int64_t> latest_iteration(const std::string& folder) {
  const fs::path path = fs::path(folder) / kTracker;
  if (!fs::exists(path)) return std::nullopt;
  const std::string text = read_text_file(path.string());
  const auto iteration = parse_iteration(text);
  if (!iteration && text.starts_with("release")) {
    throw UsageError(
        "{}: says 'release', which Megatron-LM's published weights do; make them a checkpoint of "
        "ours by megalith checkpoint convert",
        path.string());
  }
  if (!iteration) {
    throw UsageError("{}: says '{}', expected the number of an iteration; {}", path.string(),
                     text.substr(0, 40), list_iterations(folder));
  }
  return iteration;
}

void write_latest_iteration(const std::string& folder, int64_t iteration) {
  write_text_file((fs::path(folder) / kTracker).string(), std::to_string(iteration));
}

std::vector<int64_t> complete_iterations(const std::string& folder) {
  std::vector<int64_t> iterations;
  for (const auto& name : folder_names(folder)) {
    if (!name.starts_with("iter_") || !has_manifest(fs::path(folder) / name)) continue;
    const auto iteration = parse_iteration(std::string_view(name).substr(5));
    if (iteration && iteration_name(*iteration) == name) iterations.push_back(*iteration);
  }
  std::sort(iterations.begin(), iterations.end());
  return iterations;
}

std::vector<std::string> unfinished_saves(const std::string& folder) {
  auto names = folder_names(folder);
  std::erase_if(names, [](const std::string& name) {
    return !name.starts_with("iter_") || name.find(kTemporaryMark) == std::string::npos;
  });
  return names;
}

std::vector<std::string> remove_unfinished_saves(const std::string& folder) {
  std::vector<fs::path> leftovers;
  const auto unfinished = unfinished_saves(folder);
  for (const auto& name : unfinished) {
    const fs::path target = fs::path(folder) / name.substr(0, name.find(kTemporaryMark));
    if (name.ends_with(kReplacedSuffix) && !fs::exists(target)) {
      fs::rename(fs::path(folder) / name, target);
    } else {
      leftovers.push_back(fs::path(folder) / name);
    }
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    for (const std::string file : {kTracker, "metrics.jsonl"}) {
      if (name.starts_with(file + ".tmp.")) leftovers.push_back(entry.path());
    }
  }
  for (const auto& path : leftovers) {
    fs::remove_all(path, error);
    if (error) throw RunError("{}: cannot delete: {}", path.string(), error.message());
  }
  return unfinished;
}

std::vector<std::string> create_save_folder(const std::string& folder) {
  fs::path path = fs::absolute(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::vector<std::string> made;
  for (fs::path place = path; !fs::exists(place); place = place.parent_path()) {
    made.push_back(place.string());
  }
  fs::create_directories(path);
  for (const auto& place : made) sync_folder(fs::path(place).parent_path().string());
  return made;
}

bool has_no_checkpoint(const std::string& folder) {
  if (!fs::exists(folder)) return true;
  if (!fs::is_directory(folder) || fs::exists(fs::path(folder) / kTracker)) return false;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool is_unfinished = name.find(kTemporaryMark) != std::string::npos;
    if (name.starts_with("iter_") && (!is_unfinished || name.ends_with(kReplacedSuffix))) {
      return false;
    }
    // The folder of one checkpoint, with or without its manifest.
    if (name == kManifestName || entry.path().extension() == ".safetensors") return false;
    if (name.starts_with("mp_rank_") || name == "metadata.json" || name == ".metadata") {
      return false;
    }
  }
  return true;
}

std::vector<int64_t> surplus_iterations(const std::vector<int64_t>& complete, int64_t saved,
                                        const KeepRule& rule) {
  std::vector<int64_t> surplus;
  if (rule.keeps_all()) return surplus;
  std::vector<int64_t> newest_first = complete;
  std::erase_if(newest_first, [&](int64_t iteration) { return iteration >= saved; });
  std::sort(newest_first.rbegin(), newest_first.rend());
  int64_t num_newer = 1;  // `saved`
  for (const int64_t iteration : newest_first) {
    const bool is_recent = num_newer++ < rule.keep_last.value_or(1);
    const bool is_retained = rule.retain_interval && iteration % *rule.retain_interval == 0;
    if (!is_recent && !is_retained) surplus.push_back(iteration);
  }
  std::sort(surplus.begin(), surplus.end());
  return surplus;
}

void remove_checkpoint(const std::string& folder, int64_t iteration) {
  const fs::path path = fs::path(folder) / iteration_name(iteration);
  fs::path nameless = path;
  nameless += std::string(kTemporaryMark) + "removed";
  std::error_code error;
  fs::rename(path, nameless, error);
  if (error == std::errc::file_exists || error == std::errc::directory_not_empty) {
    fs::remove_all(nameless, error);  // left by an earlier attempt that could not delete all
    fs::rename(path, nameless, error);
  }
  if (!error) fs::remove_all(nameless, error);
  if (error) throw RunError("{}: cannot delete: {}", path.string(), error.message());
}

std::string find_checkpoint(const std::string& folder, std::optional<int64_t> iteration) {
  if (has_manifest(folder)) return folder;
  if (!fs::is_directory(folder)) throw UsageError("{}: {}", folder, describe_foreign(folder));
  const bool named = iteration.has_value();
  if (!named) iteration = latest_iteration(folder);
  if (!iteration) {
    const auto complete = complete_iterations(folder);
    if (!complete.empty()) return (fs::path(folder) / iteration_name(complete.back())).string();
    if (is_hugging_face(folder)) throw UsageError("{}: {}", folder, describe_foreign(folder));
    throw UsageError(
        "{}: holds no checkpoint: there is no {} in it and no complete iter_... folder; "
        "check the path",
        folder, kTracker);
  }
  const fs::path path = fs::path(folder) / iteration_name(*iteration);
  if (!has_manifest(path)) {
    throw UsageError("{}{}: {}; {}", path.string(),
                     named ? "" : fmt::format(" (named in {})", kTracker), describe_foreign(path),
                     list_iterations(folder));
  }
  return path.string();
}

}  // namespace megalith

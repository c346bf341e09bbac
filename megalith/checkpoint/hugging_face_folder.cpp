#include "megalith/checkpoint/hugging_face_folder.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kHowToConvert =
    "reading a pickle runs what it says, so it is not read; where you trust it, write safetensors "
    "by: python -c \"from transformers import AutoModelForCausalLM as M; "
    "M.from_pretrained('{0}', dtype='auto').save_pretrained('{0}-safetensors')\"";

bool is_pickle(const fs::path& file) {
  const std::string end = file.extension().string();
  return end == ".bin" || end == ".pt" || end == ".pth" || end == ".ckpt";
}

std::string refuse_pickle(const fs::path& file) {
  return fmt::format(
      "{}: {}", file.string(),
      fmt::format(fmt::runtime(kHowToConvert),
                  fs::is_directory(file) ? file.string() : file.parent_path().string()));
}

/// {tensor: file} of an index. Throws UsageError.
std::map<std::string, std::string> read_weight_map(const std::string& index) {
  const Json json = Json::parse(read_text_file(index), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object() ||
      json["weight_map"].empty()) {
    throw UsageError("{}: has no 'weight_map' of tensors and files; it is damaged or no index",
                     index);
  }
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : file.dump();
    if (!file.is_string() || fs::path(name).filename() != name) {
      throw UsageError("{}: tensor '{}' is in {}, which is no name of a file in this folder", index,
                       tensor, name);
    }
    files[tensor] = name;
  }
  return files;
}

std::string folder_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? "." : parent.string();
}

std::vector<std::string> files_with(const fs::path& folder, bool (*wanted)(const fs::path&)) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && wanted(entry.path())) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

HuggingFaceFolder::HuggingFaceFolder(const std::string& path) {
  const fs::path given(path);
  if (fs::is_regular_file(given)) {
    folder_ = folder_of(given);
    const std::string name = given.filename().string();
    if (is_pickle(given)) throw UsageError(refuse_pickle(given));
    if (name.ends_with(".safetensors")) {
      open_single(path);
    } else if (name.ends_with(".safetensors.index.json")) {
      open_index(path);
    } else {
      throw UsageError(
          "{}: is neither a .safetensors file nor a .safetensors.index.json; give one, or their "
          "folder",
          path);
    }
  } else if (fs::is_directory(given)) {
    folder_ = path;
    const bool has_weights = fs::exists(given / kHuggingFaceWeights);
    const bool has_index = fs::exists(given / kHuggingFaceIndex);
    if (has_weights && has_index) {
      throw UsageError("{}: holds both {} and {}; give the one that is meant", path,
                       kHuggingFaceWeights, kHuggingFaceIndex);
    }
    const auto others =
        files_with(given, [](const fs::path& file) { return file.extension() == ".safetensors"; });
    if (has_weights) {
      open_single((given / kHuggingFaceWeights).string());
    } else if (has_index) {
      open_index((given / kHuggingFaceIndex).string());
    } else if (others.size() == 1) {
      open_single((given / others.front()).string());
    } else if (!others.empty()) {
      throw UsageError("{}: holds neither {} nor {}, but {}; give the file that is meant", path,
                       kHuggingFaceWeights, kHuggingFaceIndex, fmt::join(others, ", "));
    } else if (const auto pickles = files_with(given, is_pickle); !pickles.empty()) {
      throw UsageError("{}: holds {} and no safetensors; {}", path, fmt::join(pickles, ", "),
                       fmt::format(fmt::runtime(kHowToConvert), path));
    } else {
      throw UsageError("{}: holds neither {} nor {}; give the folder of a Hugging Face model", path,
                       kHuggingFaceWeights, kHuggingFaceIndex);
    }
  } else {
    throw UsageError("{}: is not there; give the folder of a Hugging Face model, or its file",
                     path);
  }
  for (const auto& [name, file] : places_) names_.push_back(name);
}

std::string HuggingFaceFolder::config_path() const {
  return (fs::path(folder_) / kHuggingFaceConfig).string();
}

const SafetensorsEntry& HuggingFaceFolder::entry(const std::string& name) const {
  return *files_[places_.at(name)].find(name);
}

at::Tensor HuggingFaceFolder::tensor(const std::string& name) const {
  return files_[places_.at(name)].tensor(name);
}

void HuggingFaceFolder::release(const std::string& name) const {
  files_[places_.at(name)].release(entry(name));
}

const std::string& HuggingFaceFolder::file_of(const std::string& name) const {
  return files_[places_.at(name)].path();
}

void HuggingFaceFolder::open_single(const std::string& file) { add(SafetensorsFile(file)); }

void HuggingFaceFolder::open_index(const std::string& index) {
  const auto weight_map = read_weight_map(index);
  std::set<std::string> names;
  for (const auto& [tensor, file] : weight_map) names.insert(file);
  Problems problems;
  for (const auto& name : names) {
    const fs::path path = fs::path(folder_) / name;
    if (is_pickle(path)) throw UsageError(refuse_pickle(path));
    if (!fs::is_regular_file(path)) {
      problems.add("{}: is named by {} and is not there", path.string(), index);
      continue;
    }
    problems.collect([&] { add(SafetensorsFile(path.string())); });
  }
  problems.raise_if_any();
  for (const auto& [tensor, file] : weight_map) {
    if (!has(tensor)) {
      problems.add("{}: has no tensor '{}', which {} says it holds",
                   (fs::path(folder_) / file).string(), tensor, index);
    } else if (fs::path(file_of(tensor)).filename() != file) {
      problems.add("{}: says that '{}' is in {}, and it is in {}", index, tensor, file,
                   file_of(tensor));
    }
  }
  for (const auto& [tensor, file] : places_) {
    if (!weight_map.contains(tensor)) {
      problems.add("{}: holds '{}', of which {} says nothing", files_[file].path(), tensor, index);
    }
  }
  problems.raise_if_any();
}

void HuggingFaceFolder::add(SafetensorsFile file) {
  for (const auto& entry : file.entries()) {
    if (!places_.emplace(entry.name, files_.size()).second) {
      throw UsageError("{}: tensor '{}' is also in {}", file.path(), entry.name,
                       file_of(entry.name));
    }
  }
  files_.push_back(std::move(file));
}

}  // namespace megalith

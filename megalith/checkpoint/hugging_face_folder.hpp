// The files of a Hugging Face model: config.json, and its tensors in one safetensors file or in
// several with an index.
//
// Finds, opens and checks them; what the tensors mean is hugging_face_names.hpp's. Pickles are
// refused: reading one runs what it says. Format of the index: transformers,
// `save_pretrained(max_shard_size=...)`.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "megalith/checkpoint/safetensors.hpp"

namespace megalith {

class HuggingFaceFolder {
 public:
  /// `path`: the folder, or in it the safetensors file or the index. Of a folder's files the ones
  /// with transformers' names are taken, else the only safetensors file. Throws UsageError that
  /// lists what is missing, damaged or foreign.
  explicit HuggingFaceFolder(const std::string& path);

  const std::string& folder() const { return folder_; }
  std::string config_path() const;
  const std::vector<std::string>& names() const { return names_; }  // sorted
  bool has(const std::string& name) const { return places_.contains(name); }
  const SafetensorsEntry& entry(const std::string& name) const;
  /// A tensor over the mapped file; not to be written.
  at::Tensor tensor(const std::string& name) const;
  /// Gives the memory of a tensor that was read back to the system.
  void release(const std::string& name) const;
  /// The file that holds the tensor, for messages.
  const std::string& file_of(const std::string& name) const;

 private:
  void open_single(const std::string& file);
  void open_index(const std::string& index);
  void add(SafetensorsFile file);

  std::string folder_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t> places_;  // index into files_
  std::vector<std::string> names_;
};

constexpr const char* kHuggingFaceConfig = "config.json";
constexpr const char* kHuggingFaceWeights = "model.safetensors";
constexpr const char* kHuggingFaceIndex = "model.safetensors.index.json";

}  // namespace megalith

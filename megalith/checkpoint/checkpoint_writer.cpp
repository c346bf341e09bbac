#include "megalith/checkpoint/checkpoint_writer.hpp"

#include <ATen/ATen.h>
#include <fcntl.h>

#include <cstdio>
#include <filesystem>
#include <map>

#include "megalith/checkpoint/checkpoint_folder.hpp"
#include "megalith/checkpoint/safetensors.hpp"
#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace fs = std::filesystem;

std::string NewSlice::key() const {
  if (length == global_shape) return name;
  return fmt::format("{}@{}", name, fmt::join(offset, ","));
}

std::string file_name(const std::string& kind, int64_t index) {
  return fmt::format("{}_{:05d}.safetensors", kind, index);
}

void write_slices(const std::string& folder, const std::string& name, std::vector<NewSlice> slices,
                  Manifest& manifest) {
  std::map<std::string, NewSlice> by_key;
  std::vector<SafetensorsEntry> entries;
  for (auto& slice : slices) {
    const std::string key = slice.key();
    entries.push_back({key, slice.dtype, slice.length});
    TORCH_CHECK(by_key.emplace(key, std::move(slice)).second, "two tensors are named '", key, "'");
  }
  SafetensorsWriter writer((fs::path(folder) / name).string(), std::move(entries),
                           {{"format", "pt"}, {"megalith_token", manifest.token}},
                           SafetensorsWriter::Sums::kTaken);
  const auto file_index = static_cast<int64_t>(manifest.files.size());
  for (const auto& entry : writer.entries()) writer.append(by_key.at(entry.name).read());
  const auto& sums = writer.sums();
  for (size_t i = 0; i < sums.size(); ++i) {
    const auto& entry = writer.entries()[i];
    const NewSlice& slice = by_key.at(entry.name);
    if (!slice.sha256.empty() && sums[i] != slice.sha256) {
      throw UsageError(
          "{}: damaged: the checksum of '{}' does not match; restore the file or take an earlier "
          "checkpoint with --ckpt-step",
          slice.origin, slice.name);
    }
    manifest.tensors.push_back({slice.name,
                                slice.kind,
                                entry.dtype,
                                slice.global_shape,
                                {{file_index, entry.name, slice.offset, slice.length, sums[i]}}});
  }
  writer.commit();
  manifest.files.push_back({name, writer.size(), writer.header_sha256()});
}

void gather_slices(Manifest& manifest) {
  std::map<std::string, ManifestTensor> tensors;
  for (auto& tensor : manifest.tensors) {
    const auto [place, is_new] = tensors.try_emplace(tensor.name, tensor);
    if (!is_new) place->second.slices.push_back(tensor.slices.front());
  }
  manifest.tensors.clear();
  for (auto& [name, tensor] : tensors) manifest.tensors.push_back(std::move(tensor));
}

std::string temporary_name(const std::string& target, const std::string& token) {
  return target + ".tmp-" + token;
}

void prepare_folder(const std::string& folder, const std::string& temporary,
                    const std::string& target) {
  if (fs::exists(target) && !fs::exists(fs::path(target) / kManifestName)) {
    throw RunError(
        "{}: is there already and is no megalith checkpoint; it is not overwritten: move "
        "it away or choose another --save folder",
        target);
  }
  create_save_folder(folder);
  if (!fs::create_directory(temporary)) throw RunError("{}: exists", temporary);
}

void move_into_place(const std::string& temporary, const std::string& target) {
  if (!fs::exists(target)) {
    fs::rename(temporary, target);
  } else if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) !=
             0) {
    // No exchange on this file system: for a moment neither has the name, but both are whole.
    const std::string old = temporary + kReplacedSuffix;
    fs::rename(target, old);
    fs::rename(temporary, target);
    fs::rename(old, temporary);
  }
  sync_folder(fs::path(target).parent_path().string());
  std::error_code ignored;  // the old one, if any; remove_unfinished_saves() gets the rest
  fs::remove_all(temporary, ignored);
}

TemporaryFolder::~TemporaryFolder() {
  // Peers may be deleting the same files: try again while something is left.
  for (int attempt = 0; !done_ && attempt < 10; ++attempt) {
    std::error_code error;
    fs::remove_all(path_, error);
    if (!error && !fs::exists(path_, error)) break;
  }
}

}  // namespace megalith

// The table of contents of one checkpoint: which global tensors it holds, cut into which slices, in
// which files, with checksums; and the caller's own JSON.
//
// Each rank writes a partial manifest of its own files; rank 0 merges them into manifest.json,
// whose presence under the final folder name is the commit. Holds no tensor data: safetensors.hpp
// does. Promise: a manifest that read_manifest accepts is complete - the slices of every tensor
// fill it without hole or overlap, and the text is the one that was written.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "megalith/parallel/topology.hpp"

namespace megalith {

constexpr const char* kManifestName = "manifest.json";

struct ManifestFile {
  std::string name;  // without folders
  int64_t bytes = 0;
  std::string header_sha256;  // the file's first bytes: names, types, places and the save's token
};

struct ManifestSlice {
  int64_t file = 0;  // index into Manifest::files
  std::string key;   // the tensor's name inside that file
  std::vector<int64_t> offset, length;
  std::string sha256;  // of the slice's bytes

  int64_t num_elements() const;
};

struct ManifestTensor {
  std::string name;
  std::string kind;  // "model" for weights, else the first word of the name, such as "optimizer"
  c10::ScalarType dtype = c10::ScalarType::Float;
  std::vector<int64_t> shape = {};
  std::vector<ManifestSlice> slices = {};

  int64_t num_elements() const;
};

struct Manifest {
  int64_t iteration = 0;
  Layout layout;      // of the ranks that saved
  std::string token;  // of the save; also in the metadata of its files
  nlohmann::json meta;
  std::vector<ManifestFile> files;
  std::vector<ManifestTensor> tensors;  // by name

  /// Null when there is no such tensor.
  const ManifestTensor* find(const std::string& name) const;
};

/// The part of [offset, offset + length) that two boxes share.
struct Overlap {
  std::vector<int64_t> offset, length;
};
std::optional<Overlap> overlap(const std::vector<int64_t>& offset_a,
                               const std::vector<int64_t>& length_a,
                               const std::vector<int64_t>& offset_b,
                               const std::vector<int64_t>& length_b);

/// One manifest of all; checks that ranks agree and that every tensor is complete. Throws RunError.
Manifest merge_manifests(std::vector<Manifest> parts);

/// The text of a manifest, with a checksum over itself. Text that is not UTF-8 inside `meta` gets
/// replacement characters.
std::string manifest_text(const Manifest& manifest);

/// Reads and checks a manifest. Throws UsageError naming the file and what is wrong. A partial one
/// (of one rank) need not be complete.
Manifest read_manifest(const std::string& path, bool partial = false);

}  // namespace megalith

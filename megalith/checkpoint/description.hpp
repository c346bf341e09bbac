// What a checkpoint is, for people and programs that look at one: numbers, names, sizes.
//
// Reads the manifest alone. cli/checkpoint_inspect.cpp prints it.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/checkpoint/manifest.hpp"

namespace megalith {

/// "1.50 GB".
std::string bytes_text(int64_t bytes);

/// "tensor 2 x data 4", with context and pipeline where they are used.
std::string layout_text(const Layout& layout);

/// Of all files of weights and optimizer state.
int64_t total_bytes(const Manifest& manifest);

/// Number of tensors and elements, and the types, of each kind.
struct KindSummary {
  int64_t num_tensors = 0, num_elements = 0;
  std::map<std::string, int64_t> types = {};
};
/// By kind: "model", "optimizer".
std::map<std::string, KindSummary> summarize(const Manifest& manifest);

/// All of it as one JSON object, with every tensor's slices. `verified` is told on.
nlohmann::ordered_json describe(const Checkpoint& checkpoint, bool verified);

}  // namespace megalith

// What differs between two checkpoints: configuration and tensors, whatever layouts saved them.
//
// Reads a few megabytes of rows at a time. Computes only; cli/checkpoint_diff.cpp prints.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "megalith/checkpoint/checkpoint.hpp"

namespace megalith {

/// Paths like "model.num-layers" and the text of what stands there; lists stay whole.
std::vector<std::pair<std::string, std::string>> flatten_json(const nlohmann::json& object);

struct SettingDifference {
  std::string path, a, b;  // "(absent)" where one side has no such entry
};
std::vector<SettingDifference> compare_settings(const nlohmann::json& a, const nlohmann::json& b);

struct TensorDifference {
  enum class Kind { kIdentical, kSameValues, kDifferent, kOtherShape, kOnlyInA, kOnlyInB };
  std::string name;
  Kind kind = Kind::kIdentical;  // kSameValues: equal numbers in other types or signs of zero
  int64_t num_elements = 0, num_different = 0;
  double absolute = 0;    // largest |a - b|; infinite where one side is NaN or infinite
  double relative = 0;    // largest |a - b| / max(|a|, |b|)
  std::string note = {};  // shapes or types, where they differ
};
/// By name. Throws UsageError when a file of either is damaged.
std::vector<TensorDifference> compare_tensors(const Checkpoint& a, const Checkpoint& b);

}  // namespace megalith

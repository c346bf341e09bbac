#include "megalith/checkpoint/compare.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "megalith/checkpoint/manifest.hpp"
#include "megalith/checkpoint/safetensors.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

constexpr int64_t kChunkElements = 1 << 20;

void flatten_into(const nlohmann::json& value, const std::string& path,
                  std::vector<std::pair<std::string, std::string>>& out) {
  if (!value.is_object() || value.empty()) {
    out.emplace_back(path, value.dump());
    return;
  }
  for (const auto& [key, inner] : value.items()) {
    flatten_into(inner, path.empty() ? key : path + "." + key, out);
  }
}

/// Adds the differences of equally shaped parts.
void compare_part(const at::Tensor& a, const at::Tensor& b, TensorDifference& result) {
  if (a.scalar_type() == b.scalar_type() && at::equal(as_bits(a), as_bits(b))) return;
  if (result.kind == TensorDifference::Kind::kIdentical) {
    result.kind = TensorDifference::Kind::kSameValues;
  }
  const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
  const at::Tensor same = x.eq(y).logical_or(x.isnan().logical_and(y.isnan()));
  const auto num_different = same.logical_not().sum().item<int64_t>();
  if (num_different == 0) return;
  result.kind = TensorDifference::Kind::kDifferent;
  result.num_different += num_different;
  at::Tensor distance = at::where(same, 0.0, (x - y).abs());
  distance = distance.nan_to_num(INFINITY, INFINITY);  // NaN against a number
  const at::Tensor size = at::maximum(x.abs(), y.abs());
  at::Tensor relative = at::where(same, 0.0, distance / size);
  relative = relative.nan_to_num(INFINITY, INFINITY);
  result.absolute = std::max(result.absolute, distance.max().item<double>());
  result.relative = std::max(result.relative, relative.max().item<double>());
}

TensorDifference compare_stored(const Checkpoint& a, const Checkpoint& b,
                                const ManifestTensor& of_a, const ManifestTensor& of_b) {
  TensorDifference result{of_a.name};
  result.num_elements = of_a.num_elements();
  if (of_a.shape != of_b.shape) {
    result.kind = TensorDifference::Kind::kOtherShape;
    result.note =
        fmt::format("[{}] and [{}]", fmt::join(of_a.shape, ", "), fmt::join(of_b.shape, ", "));
    return result;
  }
  if (of_a.dtype != of_b.dtype) {
    result.kind = TensorDifference::Kind::kSameValues;
    result.note = safetensors_dtype_name(of_a.dtype) + " and " + safetensors_dtype_name(of_b.dtype);
  }
  if (of_a.shape.empty()) {
    compare_part(a.read_global(of_a.name), b.read_global(of_a.name), result);
    return result;
  }
  const int64_t rows = of_a.shape[0];
  const int64_t row_elements =
      std::max<int64_t>(1, of_a.num_elements() / std::max<int64_t>(1, rows));
  const int64_t chunk = std::max<int64_t>(1, kChunkElements / row_elements);
  for (int64_t row = 0; row < rows; row += chunk) {
    const int64_t count = std::min(chunk, rows - row);
    compare_part(a.read_rows(of_a.name, row, count), b.read_rows(of_a.name, row, count), result);
  }
  return result;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> flatten_json(const nlohmann::json& object) {
  std::vector<std::pair<std::string, std::string>> out;
  flatten_into(object, "", out);
  return out;
}

std::vector<SettingDifference> compare_settings(const nlohmann::json& a, const nlohmann::json& b) {
  std::map<std::string, SettingDifference> settings;
  for (const auto& [path, text] : flatten_json(a)) settings[path] = {path, text, "(absent)"};
  for (const auto& [path, text] : flatten_json(b)) {
    settings.try_emplace(path, SettingDifference{path, "(absent)", ""}).first->second.b = text;
  }
  std::vector<SettingDifference> differences;
  for (auto& [path, setting] : settings) {
    if (setting.a != setting.b) differences.push_back(std::move(setting));
  }
  return differences;
}

std::vector<TensorDifference> compare_tensors(const Checkpoint& a, const Checkpoint& b) {
  using Kind = TensorDifference::Kind;
  std::vector<TensorDifference> differences;
  for (const auto& tensor : a.manifest().tensors) {
    const auto* other = b.manifest().find(tensor.name);
    differences.push_back(other ? compare_stored(a, b, tensor, *other)
                                : TensorDifference{tensor.name, Kind::kOnlyInA});
  }
  for (const auto& tensor : b.manifest().tensors) {
    if (!a.has(tensor.name)) differences.push_back({tensor.name, Kind::kOnlyInB});
  }
  std::sort(differences.begin(), differences.end(),
            [](const auto& x, const auto& y) { return x.name < y.name; });
  return differences;
}

}  // namespace megalith

// Reading golden files: tensors of published tools and oracle scripts, by name.
//
// Paths are relative to tests/golden. Who made a file is in its folder or in the script of
// tests/oracles that its metadata names.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace megalith::testing {

using TensorMap = std::map<std::string, at::Tensor>;

std::filesystem::path golden_path(const std::string& name);

nlohmann::json read_golden_json(const std::string& name);

/// All tensors of a safetensors file.
TensorMap read_golden_tensors(const std::string& name);

/// An object {"shape": [...], "dtype": "torch.float32", "data": base64 of little-endian floats}.
at::Tensor base64_tensor(const nlohmann::json& object);

/// A list of numbers as a double tensor of one dim.
at::Tensor doubles(const nlohmann::json& list);

}  // namespace megalith::testing

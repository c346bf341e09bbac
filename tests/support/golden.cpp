#include "support/golden.hpp"

#include <ATen/ATen.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "megalith/checkpoint/safetensors.hpp"
#include "megalith/core/error.hpp"

namespace megalith::testing {
namespace {

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  throw RunError("'{}' is no base64 digit", c);
}

std::string decode_base64(const std::string& text) {
  std::string bytes;
  uint32_t buffer = 0;
  int bits = 0;
  for (const char c : text) {
    if (c == '=') break;
    buffer = buffer << 6 | static_cast<uint32_t>(base64_value(c));
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push_back(static_cast<char>(buffer >> bits & 0xff));
    }
  }
  return bytes;
}

}  // namespace

std::filesystem::path golden_path(const std::string& name) {
  return std::filesystem::path(MEGALITH_SOURCE_DIR) / "tests/golden" / name;
}

nlohmann::json read_golden_json(const std::string& name) {
  std::ifstream file(golden_path(name));
  if (!file) throw RunError("cannot open {}", golden_path(name).string());
  return nlohmann::json::parse(file);
}

TensorMap read_golden_tensors(const std::string& name) {
  const SafetensorsFile file(golden_path(name).string());
  TensorMap tensors;
  for (const auto& entry : file.entries()) tensors[entry.name] = file.tensor(entry).clone();
  return tensors;
}

at::Tensor base64_tensor(const nlohmann::json& object) {
  const auto shape = object.at("shape").get<std::vector<int64_t>>();
  const std::string bytes = decode_base64(object.at("data").get<std::string>());
  at::Tensor tensor = at::empty(shape, at::kFloat);
  if (object.at("dtype") != "torch.float32" || bytes.size() != tensor.nbytes()) {
    throw RunError("a tensor of {} bytes does not fit its shape", bytes.size());
  }
  std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

at::Tensor doubles(const nlohmann::json& list) {
  return at::tensor(list.get<std::vector<double>>(), at::kDouble);
}

}  // namespace megalith::testing

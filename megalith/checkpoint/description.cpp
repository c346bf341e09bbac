#include "megalith/checkpoint/description.hpp"

#include <fmt/format.h>

#include "megalith/checkpoint/safetensors.hpp"

namespace megalith {

using Json = nlohmann::ordered_json;

std::string bytes_text(int64_t bytes) {
  const char* const kUnits[] = {"bytes", "kB", "MB", "GB", "TB"};
  auto size = static_cast<double>(bytes);
  size_t unit = 0;
  for (; size >= 1000 && unit < 4; ++unit) size /= 1000;
  return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.2f} {}", size, kUnits[unit]);
}

std::string layout_text(const Layout& layout) {
  std::string text = fmt::format("tensor {} x data {}", layout.tensor, layout.data);
  if (layout.context > 1) text += fmt::format(" x context {}", layout.context);
  if (layout.pipeline > 1) text += fmt::format(" x pipeline {}", layout.pipeline);
  return text;
}

int64_t total_bytes(const Manifest& manifest) {
  int64_t bytes = 0;
  for (const auto& file : manifest.files) bytes += file.bytes;
  return bytes;
}

std::map<std::string, KindSummary> summarize(const Manifest& manifest) {
  std::map<std::string, KindSummary> kinds;
  for (const auto& tensor : manifest.tensors) {
    auto& kind = kinds[tensor.kind];
    ++kind.num_tensors;
    kind.num_elements += tensor.num_elements();
    ++kind.types[safetensors_dtype_name(tensor.dtype)];
  }
  return kinds;
}

Json describe(const Checkpoint& checkpoint, bool verified) {
  const Manifest& manifest = checkpoint.manifest();
  const Layout& layout = manifest.layout;
  Json report;
  report["format"] = "megalith checkpoint";
  report["folder"] = checkpoint.folder();
  report["iteration"] = checkpoint.iteration();
  report["checksums_verified"] = verified;
  report["layout"] = {{"tensor", layout.tensor},
                      {"context", layout.context},
                      {"data", layout.data},
                      {"pipeline", layout.pipeline}};
  report["bytes"] = total_bytes(manifest);
  for (const auto& [name, kind] : summarize(manifest)) {
    report["kinds"][name] = {{"tensors", kind.num_tensors}, {"elements", kind.num_elements}};
  }
  report["files"] = Json::array();
  for (const auto& file : manifest.files) {
    report["files"].push_back({{"name", file.name}, {"bytes", file.bytes}});
  }
  report["tensors"] = Json::array();
  for (const auto& tensor : manifest.tensors) {
    Json slices = Json::array();
    for (const auto& slice : tensor.slices) {
      slices.push_back({{"file", manifest.files[static_cast<size_t>(slice.file)].name},
                        {"key", slice.key},
                        {"offset", slice.offset},
                        {"length", slice.length}});
    }
    report["tensors"].push_back({{"name", tensor.name},
                                 {"kind", tensor.kind},
                                 {"dtype", safetensors_dtype_name(tensor.dtype)},
                                 {"shape", tensor.shape},
                                 {"slices", std::move(slices)}});
  }
  report["meta"] = checkpoint.meta();
  return report;
}

}  // namespace megalith

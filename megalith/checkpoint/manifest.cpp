#include "megalith/checkpoint/manifest.hpp"

#include <algorithm>
#include <map>

#include "megalith/checkpoint/safetensors.hpp"
#include "megalith/core/atomic_file.hpp"
#include "megalith/core/digest.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

using Json = nlohmann::json;

constexpr const char* kFormat = "megalith checkpoint";
constexpr int64_t kFormatVersion = 1;

int64_t product(const std::vector<int64_t>& sizes) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return count;
}

bool is_inside(const ManifestSlice& slice, const std::vector<int64_t>& shape) {
  if (slice.offset.size() != shape.size() || slice.length.size() != shape.size()) return false;
  for (size_t dim = 0; dim < shape.size(); ++dim) {
    const int64_t offset = slice.offset[dim], length = slice.length[dim];
    if (offset < 0 || length < 0 || offset > shape[dim] || length > shape[dim] - offset) {
      return false;
    }
  }
  return true;
}

/// What keeps the slices from filling the tensor exactly, or nothing.
std::optional<std::string> coverage_mistake(const ManifestTensor& tensor) {
  int64_t covered = 0;
  for (const auto& slice : tensor.slices) {
    if (!is_inside(slice, tensor.shape)) {
      return fmt::format("slice '{}' at [{}] of size [{}] is not inside the shape [{}]", slice.key,
                         fmt::join(slice.offset, ", "), fmt::join(slice.length, ", "),
                         fmt::join(tensor.shape, ", "));
    }
    covered += slice.num_elements();
  }
  for (size_t i = 0; i < tensor.slices.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const auto &a = tensor.slices[i], &b = tensor.slices[j];
      if (overlap(a.offset, a.length, b.offset, b.length)) {
        return fmt::format("slices '{}' and '{}' overlap", b.key, a.key);
      }
    }
  }
  if (covered != tensor.num_elements()) {
    return fmt::format("its {} slices hold {} of {} elements", tensor.slices.size(), covered,
                       tensor.num_elements());
  }
  return std::nullopt;
}

Json to_json(const Manifest& manifest) {
  Json files = Json::array(), tensors = Json::array();
  for (const auto& file : manifest.files) {
    files.push_back(
        {{"name", file.name}, {"bytes", file.bytes}, {"header_sha256", file.header_sha256}});
  }
  for (const auto& tensor : manifest.tensors) {
    Json slices = Json::array();
    for (const auto& slice : tensor.slices) {
      slices.push_back({{"file", slice.file},
                        {"key", slice.key},
                        {"offset", slice.offset},
                        {"length", slice.length},
                        {"sha256", slice.sha256}});
    }
    tensors.push_back({{"name", tensor.name},
                       {"kind", tensor.kind},
                       {"dtype", safetensors_dtype_name(tensor.dtype)},
                       {"shape", tensor.shape},
                       {"slices", std::move(slices)}});
  }
  const auto& layout = manifest.layout;
  return {{"format", kFormat},
          {"format_version", kFormatVersion},
          {"iteration", manifest.iteration},
          {"token", manifest.token},
          {"layout",
           {{"tensor", layout.tensor},
            {"context", layout.context},
            {"data", layout.data},
            {"pipeline", layout.pipeline}}},
          {"meta", manifest.meta},
          {"files", std::move(files)},
          {"tensors", std::move(tensors)}};
}

ManifestTensor tensor_from_json(const Json& object) {
  ManifestTensor tensor{object.at("name"), object.at("kind")};
  const auto dtype = safetensors_dtype(object.at("dtype"));
  if (!dtype) {
    throw UsageError("tensor '{}' has unknown dtype {}", tensor.name, object.at("dtype").dump());
  }
  tensor.dtype = *dtype;
  tensor.shape = object.at("shape").get<std::vector<int64_t>>();
  for (const auto& slice : object.at("slices")) {
    tensor.slices.push_back({slice.at("file"), slice.at("key"), slice.at("offset"),
                             slice.at("length"), slice.at("sha256")});
  }
  return tensor;
}

Manifest from_json(const Json& object) {
  Manifest manifest;
  manifest.iteration = object.at("iteration");
  manifest.token = object.at("token");
  const auto& layout = object.at("layout");
  manifest.layout = {layout.at("tensor"), layout.at("context"), layout.at("data"),
                     layout.at("pipeline")};
  manifest.meta = object.at("meta");
  for (const auto& file : object.at("files")) {
    manifest.files.push_back({file.at("name"), file.at("bytes"), file.at("header_sha256")});
  }
  for (const auto& tensor : object.at("tensors")) {
    manifest.tensors.push_back(tensor_from_json(tensor));
  }
  return manifest;
}

/// Throws UsageError with what is wrong inside.
void check_manifest(const Manifest& manifest, bool partial) {
  for (const auto& file : manifest.files) {
    const bool is_plain = !file.name.empty() && file.name != "." && file.name != ".." &&
                          file.name.find('/') == std::string::npos;
    if (!is_plain) throw UsageError("'{}' is not a file of this folder", file.name);
  }
  const auto num_files = static_cast<int64_t>(manifest.files.size());
  for (size_t i = 0; i < manifest.tensors.size(); ++i) {
    const auto& tensor = manifest.tensors[i];
    if (i > 0 && manifest.tensors[i - 1].name >= tensor.name) {
      throw UsageError("tensor '{}' is out of order or stands twice", tensor.name);
    }
    for (const auto& slice : tensor.slices) {
      if (slice.file < 0 || slice.file >= num_files) {
        throw UsageError("tensor '{}' lies in file number {} of {}", tensor.name, slice.file,
                         num_files);
      }
    }
    const auto mistake = partial ? std::nullopt : coverage_mistake(tensor);
    if (mistake) throw UsageError("tensor '{}' is not complete: {}", tensor.name, *mistake);
  }
}

}  // namespace

int64_t ManifestSlice::num_elements() const { return product(length); }
int64_t ManifestTensor::num_elements() const { return product(shape); }

const ManifestTensor* Manifest::find(const std::string& name) const {
  const auto found = std::lower_bound(
      tensors.begin(), tensors.end(), name,
      [](const ManifestTensor& tensor, const auto& key) { return tensor.name < key; });
  return found == tensors.end() || found->name != name ? nullptr : &*found;
}

std::optional<Overlap> overlap(const std::vector<int64_t>& offset_a,
                               const std::vector<int64_t>& length_a,
                               const std::vector<int64_t>& offset_b,
                               const std::vector<int64_t>& length_b) {
  Overlap shared;
  for (size_t dim = 0; dim < offset_a.size(); ++dim) {
    const int64_t begin = std::max(offset_a[dim], offset_b[dim]);
    const int64_t end = std::min(offset_a[dim] + length_a[dim], offset_b[dim] + length_b[dim]);
    if (end <= begin) return std::nullopt;
    shared.offset.push_back(begin);
    shared.length.push_back(end - begin);
  }
  return shared;
}

Manifest merge_manifests(std::vector<Manifest> parts) {
  Manifest whole = parts.at(0);
  whole.files.clear();
  std::map<std::string, ManifestTensor> tensors;
  for (auto& part : parts) {
    const auto first_file = static_cast<int64_t>(whole.files.size());
    whole.files.insert(whole.files.end(), part.files.begin(), part.files.end());
    for (auto& tensor : part.tensors) {
      for (auto& slice : tensor.slices) slice.file += first_file;
      auto& merged = tensors
                         .try_emplace(tensor.name, ManifestTensor{tensor.name, tensor.kind,
                                                                  tensor.dtype, tensor.shape})
                         .first->second;
      if (merged.dtype != tensor.dtype || merged.shape != tensor.shape) {
        throw RunError("ranks disagree about tensor '{}': {} [{}] and {} [{}]", tensor.name,
                       safetensors_dtype_name(merged.dtype), fmt::join(merged.shape, ", "),
                       safetensors_dtype_name(tensor.dtype), fmt::join(tensor.shape, ", "));
      }
      merged.slices.insert(merged.slices.end(), tensor.slices.begin(), tensor.slices.end());
    }
  }
  whole.tensors.clear();
  for (auto& [name, tensor] : tensors) {
    if (const auto mistake = coverage_mistake(tensor)) {
      throw RunError("tensor '{}' was not written whole: {}", name, *mistake);
    }
    std::sort(tensor.slices.begin(), tensor.slices.end(),
              [](const auto& a, const auto& b) { return a.offset < b.offset; });
    whole.tensors.push_back(std::move(tensor));
  }
  return whole;
}

std::string manifest_text(const Manifest& manifest) {
  const auto replace = Json::error_handler_t::replace;
  // Once through text first: what is summed must be what a reader will parse (a NaN becomes null).
  Json object = Json::parse(to_json(manifest).dump(-1, ' ', false, replace));
  object["checksum"] = sha256_hex(object.dump());
  return object.dump(1) + "\n";
}

Manifest read_manifest(const std::string& path, bool partial) {
  Json object;
  try {
    object = Json::parse(read_text_file(path));
  } catch (const Json::exception& error) {
    throw UsageError("{}: truncated or damaged: it is not JSON ({})", path, error.what());
  }
  if (!object.is_object() || object.value("format", Json()) != kFormat) {
    throw UsageError("{}: is not the manifest of a megalith checkpoint", path);
  }
  if (object.value("format_version", Json()) != kFormatVersion) {
    throw UsageError("{}: has format version {}; this program reads {}; use a newer megalith", path,
                     object.value("format_version", Json()).dump(), kFormatVersion);
  }
  const Json checksum = object.value("checksum", Json());
  object.erase("checksum");
  if (checksum != sha256_hex(object.dump())) {
    throw UsageError("{}: damaged or edited: its checksum does not match its text", path);
  }
  try {
    Manifest manifest = from_json(object);
    check_manifest(manifest, partial);
    return manifest;
  } catch (const Json::exception& error) {
    throw UsageError("{}: an entry is missing or of the wrong type ({})", path, error.what());
  } catch (const UsageError& error) {
    throw UsageError("{}: {}", path, error.what());
  }
}

}  // namespace megalith

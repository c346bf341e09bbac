#include "megalith/checkpoint/checkpoint_source.hpp"

#include "megalith/checkpoint/manifest.hpp"
#include "megalith/checkpoint/model_io.hpp"

namespace megalith {
namespace {

constexpr const char* kMainPrefix = "optimizer.main.";

SourceTensor tensor_of(const Checkpoint& checkpoint, const ManifestTensor& stored,
                       const std::string& name, bool keeps_type) {
  // What is converted has other bytes in the end: it is checked when it is read.
  const bool is_whole = stored.slices.size() == 1 && keeps_type;
  const auto read = [checkpoint, stored_name = stored.name, is_whole] {
    return is_whole ? checkpoint.map_global(stored_name) : checkpoint.read_global(stored_name);
  };
  return {name, stored.dtype, stored.shape, read, is_whole ? stored.slices.front().sha256 : ""};
}

}  // namespace

CheckpointSource source_of(const Checkpoint& checkpoint, std::optional<at::ScalarType> dtype) {
  checkpoint.check_files();
  const bool converts = dtype && *dtype != weights_dtype(checkpoint);
  const Manifest& manifest = checkpoint.manifest();
  CheckpointSource source;
  source.model.origin = checkpoint.folder();
  source.model.config = model_config_from(checkpoint);
  source.model.iteration = checkpoint.iteration();
  source.model.meta = checkpoint.meta();
  for (const auto& tensor : manifest.tensors) {
    if (converts && tensor.kind != "model") {
      ++source.num_dropped;
      continue;
    }
    const auto* main = converts ? manifest.find(kMainPrefix + tensor.name) : nullptr;
    source.takes_main = source.takes_main || main != nullptr;
    const ManifestTensor& stored = main != nullptr ? *main : tensor;
    const bool keeps_type = !dtype || tensor.kind != "model" || stored.dtype == *dtype;
    source.model.tensors.push_back(tensor_of(checkpoint, stored, tensor.name, keeps_type));
  }
  return source;
}

}  // namespace megalith

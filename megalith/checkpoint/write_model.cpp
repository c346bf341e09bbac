#include "megalith/checkpoint/write_model.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>

#include "megalith/checkpoint/checkpoint_folder.hpp"
#include "megalith/checkpoint/checkpoint_writer.hpp"
#include "megalith/checkpoint/save_folder.hpp"
#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;

std::string random_token() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

int64_t bytes_of(const NewSlice& slice) {
  int64_t bytes = static_cast<int64_t>(c10::elementSize(slice.dtype));
  for (const int64_t size : slice.length) bytes *= size;
  return bytes;
}

bool is_optimizer(const SourceTensor& tensor) { return tensor.name.starts_with("optimizer."); }

/// The whole tensor as one slice, in the type that is wanted.
NewSlice slice_of(const SourceTensor& tensor, const std::string& origin,
                  const WriteOptions& options) {
  const bool converts = options.dtype && c10::isFloatingType(tensor.dtype) && !is_optimizer(tensor);
  const at::ScalarType dtype = converts ? *options.dtype : tensor.dtype;
  return {tensor.name,
          is_optimizer(tensor) ? "optimizer" : "model",
          dtype,
          tensor.shape,
          std::vector<int64_t>(tensor.shape.size(), 0),
          tensor.shape,
          [&tensor, dtype] {
            const at::Tensor value = tensor.read();
            // Equal types pass through: bits stay what they are.
            return value.scalar_type() == dtype ? value : value.to(dtype);
          },
          dtype == tensor.dtype ? tensor.sha256 : "",
          origin};
}

/// The slices of one kind dealt to `num_files` files, largest first to the file with the least.
std::vector<std::vector<NewSlice>> deal(std::vector<NewSlice> slices, int64_t num_files) {
  std::stable_sort(slices.begin(), slices.end(),
                   [](const NewSlice& a, const NewSlice& b) { return bytes_of(a) > bytes_of(b); });
  std::vector<std::vector<NewSlice>> files(static_cast<size_t>(num_files));
  std::vector<int64_t> load(files.size(), 0);
  for (auto& slice : slices) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += std::max<int64_t>(bytes_of(slice), 1);  // empty tensors spread, too
    files[static_cast<size_t>(least - load.begin())].push_back(std::move(slice));
  }
  return files;
}

nlohmann::json meta_of(const ModelSource& source) {
  nlohmann::json meta = source.meta;
  ModelConfig config = source.config;
  meta["program"] = "megalith";
  meta["iteration"] = source.iteration;
  meta["model"] = fields_to_json(config.shape_fields());
  return meta;
}

void check_target(const ModelSource& source, const fs::path& target, const WriteOptions& options) {
  Problems problems;
  if (fs::exists(target)) {
    problems.add(
        "{}: is there already; it is not overwritten: move it away or choose another "
        "--save folder",
        target.string());
  }
  const auto most = std::count_if(source.tensors.begin(), source.tensors.end(),
                                  [](const auto& tensor) { return !is_optimizer(tensor); });
  if (options.num_files < 1 || options.num_files > most) {
    problems.add("--num-files {}: {} has {} weights, and a file holds whole ones; give 1 to {}",
                 options.num_files, source.origin, most, most);
  }
  problems.raise_if_any();
}

}  // namespace

std::string write_model(const ModelSource& source, const std::string& save_folder,
                        const WriteOptions& options) {
  const fs::path target = fs::path(save_folder) / iteration_name(source.iteration);
  check_target(source, target, options);
  const std::string token = random_token();
  const std::string temporary = temporary_name(target.string(), token);
  SaveFolderHold hold;
  try {
    hold.take(save_folder, token);
  } catch (const UsageError& error) {  // says what is wrong with the folder, not which it is
    throw UsageError("--save {}: {}", save_folder, error.what());
  }
  remove_unfinished_saves(save_folder);  // of conversions that were killed
  check_target(source, target, options);

  TemporaryFolder guard(temporary);
  prepare_folder(save_folder, temporary, target.string());
  std::map<std::string, std::vector<NewSlice>> by_kind;
  for (const auto& tensor : source.tensors) {
    NewSlice slice = slice_of(tensor, source.origin, options);
    by_kind[slice.kind].push_back(std::move(slice));
  }
  Manifest manifest{source.iteration, Layout{}, token, meta_of(source), {}, {}};
  for (auto& [kind, slices] : by_kind) {
    int64_t index = 0;
    for (auto& file : deal(std::move(slices), options.num_files)) {
      if (file.empty()) continue;
      write_slices(temporary, file_name(kind, index++), std::move(file), manifest);
    }
  }
  gather_slices(manifest);
  write_text_file((fs::path(temporary) / kManifestName).string(), manifest_text(manifest));
  sync_folder(temporary);
  move_into_place(temporary, target.string());
  guard.keep();
  if (complete_iterations(save_folder).back() == source.iteration) {
    write_latest_iteration(save_folder, source.iteration);
  }
  return target.string();
}

}  // namespace megalith

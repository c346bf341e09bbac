// A model written as a checkpoint of ours by one process without process groups: what conversions
// end in.
//
// The very format of save_checkpoint, so that whatever reads a run's checkpoint reads this one.
// Tensors are read one at a time; no more than the largest (and its copy in another type) is in
// memory. Says what a training run needs only as far as the source knows it: model_source.hpp.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>
#include <string>

#include "megalith/checkpoint/model_source.hpp"

namespace megalith {

struct WriteOptions {
  int64_t num_files = 1;  // of each kind; whole tensors, balanced by bytes
  /// Of the floating-point weights; nothing keeps the source's. The optimizer's are never changed.
  std::optional<at::ScalarType> dtype = std::nullopt;
};

/// Writes save_folder/iter_NNNNNNN of source.iteration, and names it the latest unless a later one
/// is there. Tensors whose names begin with "optimizer." are the optimizer's and go to files of
/// their own. `source.meta` is merged into the checkpoint's meta. Returns the checkpoint's folder.
/// Throws UsageError when the target is there already, when a run holds the folder, or when there
/// are more files than tensors; RunError when writing fails. Nothing is left behind then.
std::string write_model(const ModelSource& source, const std::string& save_folder,
                        const WriteOptions& options = {});

}  // namespace megalith

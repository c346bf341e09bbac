// Saving and loading the tensors of a run: a folder of global tensors, stored in slices.
//
// Each rank writes the slices it owns and reads what intersects its own, so that other tensor and
// data sizes at load are the normal case. Safetensors and JSON only, nothing executable. Knows
// names, boxes and bytes; what a model or an optimizer consists of, its caller says. Promises: a
// checkpoint is there whole or not at all, nothing is loaded in part, bits come back unchanged.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "megalith/checkpoint/checkpoint_folder.hpp"
#include "megalith/core/error.hpp"
#include "megalith/parallel/process_groups.hpp"
#include "megalith/parallel/shard_spec.hpp"

namespace megalith {

struct Manifest;

/// A checkpoint could not be written; every rank throws it, and the run may go on without.
struct SaveError : RunError {
  using RunError::RunError;
};

/// A local tensor and the global tensors it holds slices of, named `prefix` + box.name. Prefixes:
/// "" for weights, "optimizer.exp_avg." and the like for what is stored beside them.
struct CheckpointTensor {
  std::string prefix;
  at::Tensor local;
  ShardSpec shard;
};

/// Writes folder/iter_NNNNNNN and then latest_checkpointed_iteration.txt. A checkpoint of the same
/// iteration is replaced in one step; a folder of that name that is none is refused. `meta` is rank
/// 0's. Data-parallel replicas share the writing. Tensors of any device and strides.
/// Communicates: world, on the device of the first tensor, every rank must call with a tensor list
/// of the same order as its data-parallel peers.
/// Throws SaveError on every rank when any rank fails; the previous checkpoint is then untouched
/// and the new one removed.
void save_checkpoint(const std::string& folder, int64_t iteration,
                     const std::vector<CheckpointTensor>& tensors, const nlohmann::json& meta,
                     const ProcessGroups& groups);

class Checkpoint {
 public:
  enum class DtypeMismatch { kRefuse, kConvert };

  /// `folder` is a save folder (the latest, or the given iteration) or one checkpoint's folder.
  /// With `verify`, read() checks the checksum of each slice before it copies anything. Throws
  /// UsageError naming the folder or file and what is wrong.
  static Checkpoint open(const std::string& folder, std::optional<int64_t> iteration = std::nullopt,
                         bool verify = true);

  const std::string& folder() const;  // with the iteration
  int64_t iteration() const;
  const nlohmann::json& meta() const;
  /// Every tensor with type, shape and slices: manifest.hpp.
  const Manifest& manifest() const;
  bool has(const std::string& name) const;
  /// The names of the stored tensors of a kind: "model", "optimizer".
  std::vector<std::string> names(const std::string& kind) const;

  /// Fills the boxes of every local tensor; padding rows are left alone. All names, shapes, types
  /// and files are checked before the first byte is copied. Throws UsageError with all mistakes.
  void read(const std::vector<CheckpointTensor>& tensors,
            DtypeMismatch on_mismatch = DtypeMismatch::kRefuse) const;
  /// A whole global tensor, or rows [first_row, first_row + num_rows) of it, on the CPU.
  at::Tensor read_global(const std::string& name) const;
  at::Tensor read_rows(const std::string& name, int64_t first_row, int64_t num_rows) const;

  /// A whole global tensor over the mapped file, unverified and not to be written; read_global()'s
  /// where it lies in several slices.
  at::Tensor map_global(const std::string& name) const;

  /// Opens every file: none is missing, truncated or foreign. Throws UsageError.
  void check_files() const;
  /// check_files(), and the checksum of every stored byte.
  void verify_all() const;

 private:
  struct State;
  explicit Checkpoint(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

/// The part of `local` that holds a box. Shared by saving and loading.
at::Tensor box_view(const at::Tensor& local, const Box& box);

}  // namespace megalith

// How a checkpoint comes to be on disk, for those who write one: the collective save of a run
// (checkpoint.hpp) and the conversion of a model without ranks (write_model.hpp).
//
// Everything goes into a folder under a temporary name, which takes its final name when it is
// complete and synced, so that a full disk or a kill leaves nothing half. Knows no process group.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "megalith/checkpoint/manifest.hpp"

namespace megalith {

/// A box of a global tensor that one file is to hold. `read` gives its values, shaped `length`, on
/// any device and with any strides; called once, when it is written.
struct NewSlice {
  std::string name;  // of the global tensor
  std::string kind;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> global_shape, offset, length;
  std::function<at::Tensor()> read;
  std::string sha256 = {};  // of its bytes where known: others are refused with a UsageError
  std::string origin = {};  // for that message

  /// A whole tensor keeps its name, so that the file means the same to any reader.
  std::string key() const;
};

/// "model_00003.safetensors".
std::string file_name(const std::string& kind, int64_t index);

/// Writes one file and adds it, and an entry a slice, to the manifest.
void write_slices(const std::string& folder, const std::string& name, std::vector<NewSlice> slices,
                  Manifest& manifest);

/// Several slices of one tensor become one entry, in the order read_manifest wants.
void gather_slices(Manifest& manifest);

/// The name of a checkpoint that is being written.
std::string temporary_name(const std::string& target, const std::string& token);

/// Makes the save folder and, in it, the temporary one. Throws RunError when `target` is there and
/// is no checkpoint.
void prepare_folder(const std::string& folder, const std::string& temporary,
                    const std::string& target);

/// Gives the complete folder its name; one that has the name already goes away in the same step.
void move_into_place(const std::string& temporary, const std::string& target);

/// Deletes the temporary folder when the save did not come to its end.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  void keep() { done_ = true; }

 private:
  std::string path_;
  bool done_ = false;
};

}  // namespace megalith

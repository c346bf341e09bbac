// A parameter is a slice of named global tensors; this is the one idea of a shard that layers,
// optimizer, checkpoint, planner and tests share.
//
// A spec is a list of boxes. Each box says where some rows of the local tensor lie in one global
// tensor, so a layer that fuses query, key and value has three. Rows of the local tensor that are
// in no box are padding: they exist in memory only. Touches no torch type.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace megalith {

/// Rows [local_row, local_row + length[0]) of the local tensor are the box [offset, offset +
/// length) of the global tensor `name`; the local tensor has length[1:] in its other dims.
struct Box {
  std::string name;
  std::vector<int64_t> global_shape;
  std::vector<int64_t> offset;
  std::vector<int64_t> length;
  int64_t local_row = 0;

  int64_t num_elements() const {
    int64_t count = 1;
    for (const int64_t n : length) count *= n;
    return count;
  }
  bool operator==(const Box&) const = default;
};

struct ShardSpec {
  std::vector<Box> boxes;
  bool replicated = false;  // the same on every tensor rank: counted once in norms, written once

  int64_t num_elements() const {
    int64_t count = 0;
    for (const auto& box : boxes) count += box.num_elements();
    return count;
  }
};

}  // namespace megalith

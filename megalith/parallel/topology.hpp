// Where a rank sits in the (tensor, context, data, pipeline) grid, as plain arithmetic.
//
// Holds no process group and touches no torch type, so the planner and the unit tests can ask about
// a 3072-rank machine on a laptop. process_groups.hpp turns the answers into groups.
// Order: tensor ranks are adjacent, then context, data, pipeline (the order is this file's
// promise). The paper's appendix B.1 (figure 8): 16 ranks with tensor = 8 give the tensor groups
// {0..7}, {8..15} and the data groups {0,8}, {1,9}, ..., {7,15}.
#pragma once

#include <cstdint>
#include <vector>

#include "megalith/core/error.hpp"

namespace megalith {

/// Sizes of the axes; their product is the world size.
struct Layout {
  int64_t tensor = 1;
  int64_t context = 1;
  int64_t data = 1;
  int64_t pipeline = 1;
  int64_t world_size() const { return tensor * context * data * pipeline; }
  int64_t model_size() const { return tensor * context * pipeline; }
  bool operator==(const Layout&) const = default;
};

/// A rank's position on each axis.
struct Coordinates {
  int64_t tensor = 0;
  int64_t context = 0;
  int64_t data = 0;
  int64_t pipeline = 0;
  bool operator==(const Coordinates&) const = default;
};

/// The axes along which the ranks of a group differ.
struct AxisSet {
  bool tensor = false;
  bool context = false;
  bool data = false;
  bool pipeline = false;
};

Coordinates coordinates_of(const Layout& layout, int64_t rank);
int64_t rank_of(const Layout& layout, const Coordinates& coordinates);

/// The world ranks, ascending, that agree with `rank` on every axis outside `axes`; includes
/// `rank`.
std::vector<int64_t> group_ranks(const Layout& layout, const AxisSet& axes, int64_t rank);

/// The layout of `world_size` ranks with the given tensor size; the rest is data. Adds to
/// `problems` when the sizes do not divide.
Layout make_layout(int64_t world_size, int64_t tensor, Problems& problems);

}  // namespace megalith

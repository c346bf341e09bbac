// Mixing several datasets: which child the i-th sample comes from, and how many each is asked for.
//
// Pure computation; blended_dataset.hpp serves samples by it. Promise: the lists, sums and arrays
// equal upstream's bit for bit, ties and the order of floating-point sums included.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "megalith/data/numpy_file.hpp"

namespace megalith {

/// A list of datasets as the user gave it.
struct Blend {
  std::vector<std::string> prefixes;
  std::optional<std::vector<double>> weights;  // as written, not normalised
  /// One prefix without a weight is a dataset of its own, no blend.
  bool single() const { return prefixes.size() == 1 && !weights; }
};

/// Reads the values of --data-path and its kin: "WEIGHT PREFIX WEIGHT PREFIX …" or "PREFIX …".
/// A list of even length whose would-be weights are all no numbers is a list of prefixes.
/// Throws UsageError, naming `flag`, for weights mixed with names and for weights that are not
/// greater than 0.
Blend parse_blend(const std::vector<std::string>& words, const std::string& flag);

/// Samples a child of normalised weight w stands for in a blend of `size`: ceil(size * w).
int64_t planned_samples(int64_t size, double weight);

/// More is asked of a child, since rounding may draw more of it.
inline constexpr double kBlendSurplus = 0.005;
int64_t samples_to_ask(int64_t size, double weight, double surplus = kBlendSurplus);

struct BlendIndex {
  IntegerArray dataset;  // int16: the child of each sample
  IntegerArray sample;   // int64: the number of the sample within it
};

/// At step i the child that is furthest behind its share. `weights` are normalised.
BlendIndex blend_by_weight(const std::vector<double>& weights, int64_t size);

/// Every sample of every child once, in proportion to their sizes.
BlendIndex blend_exhaustively(const std::vector<int64_t>& sizes);

/// How often each child occurs.
std::vector<int64_t> blend_counts(const BlendIndex& index, size_t num_children);

}  // namespace megalith

// The --split string: which share of the documents each of training, validation and test gets.
//
// Pure arithmetic; which documents are asked for samples is build_datasets.hpp's. Promise: the same
// fractions, bounds and ranges as upstream, to the last bit. Strings that upstream turns into NaN
// or an exception are refused.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace megalith {

enum class Split { kTrain, kValid, kTest };

inline constexpr std::array kSplits = {Split::kTrain, Split::kValid, Split::kTest};

/// "train", "valid", "test".
const char* split_name(Split split);

/// Sum in the order of numpy.sum, which matters from eight terms on.
double numpy_sum(const std::vector<double>& values);
/// Each value divided by the sum.
std::vector<double> normalized(const std::vector<double>& weights);

/// Bounds of each share as fractions of the whole; nothing for a share of 0.
using SplitMatrix = std::array<std::optional<std::pair<double, double>>, 3>;

/// The three fractions. Throws UsageError for no numbers, more than three, a malformed one, or
/// shares that add up to nothing.
std::array<double, 3> parse_split(const std::string& text);
SplitMatrix split_matrix(const std::array<double, 3>& fractions);

/// First and one past the last of `count` items; the rounding is half to even.
using Interval = std::pair<int64_t, int64_t>;
Interval split_interval(const std::pair<double, double>& bounds, int64_t count);

}  // namespace megalith

// NumPy's RandomState number stream, as far as sample orders need it.
//
// Not for weights or dropout: parallel/random is. Promise: every function draws exactly the 32-bit
// numbers that numpy.random.RandomState(seed) draws, in the same order; NumPy keeps that stream
// frozen, so an order made here is the order that upstream's Python makes.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <utility>

namespace megalith {

class RandomState {
 public:
  /// Throws UsageError unless 0 <= seed < 2^32, NumPy's own range.
  explicit RandomState(int64_t seed);

  uint32_t next_u32() { return static_cast<uint32_t>(generator_()); }
  /// A double in [0, 1) with 53 random bits; two draws.
  double random();
  /// A number of [low, high); no draw when only one is possible. Throws std::invalid_argument when
  /// the interval is empty.
  int64_t randint(int64_t low, int64_t high);
  /// An index drawn with the given probabilities; one random().
  int64_t choice(std::span<const double> probabilities);
  /// Tries up to the first success of probability p < 1/3; one random().
  int64_t geometric(double p);
  /// Shuffles in place, from the last entry down.
  template <class T>
  void shuffle(std::span<T> values) {
    for (size_t i = values.size(); i-- > 1;) std::swap(values[i], values[interval(i)]);
  }

 private:
  /// A number of [0, max] by masked rejection; no draw for max = 0.
  uint64_t interval(uint64_t max);

  std::mt19937 generator_;
};

}  // namespace megalith

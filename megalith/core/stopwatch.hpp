// Wall time of one part of the work after another, for what a command says of itself.
#pragma once

#include <chrono>
#include <utility>

namespace megalith {

class Stopwatch {
 public:
  /// Seconds since it was made, or since the last lap.
  double lap() {
    const auto now = Clock::now();
    return std::chrono::duration<double>(now - std::exchange(start_, now)).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

}  // namespace megalith

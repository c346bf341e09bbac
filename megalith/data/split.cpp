#include "megalith/data/split.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>
#include <string_view>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

/// NumPy's pairwise sum: straight below 8 terms, eight running sums up to 128, halves above.
double pairwise_sum(std::span<const double> x) {
  if (x.size() < 8) {
    double sum = 0;
    for (const double value : x) sum += value;
    return sum;
  }
  if (x.size() <= 128) {
    std::array<double, 8> r{};
    const size_t whole = x.size() - x.size() % 8;
    for (size_t i = 0; i < whole; ++i) r[i % 8] = i < 8 ? x[i] : r[i % 8] + x[i];
    double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (size_t i = whole; i < x.size(); ++i) sum += x[i];
    return sum;
  }
  size_t half = x.size() / 2;
  half -= half % 8;
  return pairwise_sum(x.first(half)) + pairwise_sum(x.subspan(half));
}

constexpr std::string_view kBetweenShares = " ,\t";
constexpr const char* kHint = "give up to three shares, as in --split '969, 30, 1'";

std::vector<double> numbers_in(const std::string& text) {
  constexpr const char* kNumberCharacters = "0123456789.";
  std::vector<double> numbers;
  for (size_t at = text.find_first_of(kNumberCharacters); at != std::string::npos;) {
    const size_t end = std::min(text.find_first_not_of(kNumberCharacters, at), text.size());
    // Upstream reads "-2" as 2; a dash between two numbers only separates.
    const bool negative = at > 0 && text[at - 1] == '-' &&
                          (at == 1 || kBetweenShares.find(text[at - 2]) != std::string_view::npos);
    if (negative) {
      throw UsageError("--split '{}': a share cannot be negative; {}", text, kHint);
    }
    const std::string word = text.substr(at, end - at);
    double value = 0;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || stop != word.data() + word.size()) {
      throw UsageError("--split '{}': '{}' is not a number; {}", text, word, kHint);
    }
    numbers.push_back(value);
    at = text.find_first_of(kNumberCharacters, end);
  }
  return numbers;
}

}  // namespace

const char* split_name(Split split) {
  constexpr std::array names = {"train", "valid", "test"};
  return names.at(static_cast<size_t>(split));
}

double numpy_sum(const std::vector<double>& values) { return pairwise_sum(values); }

std::vector<double> normalized(const std::vector<double>& weights) {
  const double sum = numpy_sum(weights);
  std::vector<double> result;
  for (const double weight : weights) result.push_back(weight / sum);
  return result;
}

std::array<double, 3> parse_split(const std::string& text) {
  std::vector<double> shares = numbers_in(text);
  if (shares.empty()) throw UsageError("--split '{}' holds no number; {}", text, kHint);
  if (shares.size() > 3) {
    throw UsageError("--split '{}' holds {} numbers; {}", text, shares.size(), kHint);
  }
  shares.resize(3);
  const double sum = numpy_sum(shares);
  if (!(sum > 0) || !std::isfinite(sum)) {
    throw UsageError("--split '{}': the shares add up to {}; {}", text, sum, kHint);
  }
  shares = normalized(shares);
  return {shares[0], shares[1], shares[2]};
}

SplitMatrix split_matrix(const std::array<double, 3>& fractions) {
  SplitMatrix matrix;
  double start = 0;
  for (size_t i = 0; i < 3; ++i) {
    const double end = start + fractions[i];
    if (end > start) matrix[i] = {start, end};
    start = end;
  }
  return matrix;
}

Interval split_interval(const std::pair<double, double>& bounds, int64_t count) {
  const auto nearest = [count](double fraction) {
    return static_cast<int64_t>(std::nearbyint(fraction * static_cast<double>(count)));
  };
  return {nearest(bounds.first), nearest(bounds.second)};
}

}  // namespace megalith

#include "megalith/data/blending.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

std::string trimmed(const std::string& word) {
  constexpr const char* kSpace = " \t\n\r";
  const size_t first = word.find_first_not_of(kSpace);
  if (first == std::string::npos) return "";
  return word.substr(first, word.find_last_not_of(kSpace) - first + 1);
}

std::optional<double> as_number(const std::string& word) {
  const std::string text = trimmed(word);
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || stop != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

/// Picks children greedily. Those with `limits` leave once they are used up.
class GreedyBlend {
 public:
  GreedyBlend(std::vector<double> weights, int64_t size) : weights_(std::move(weights)) {
    if (weights_.size() > static_cast<size_t>(std::numeric_limits<int16_t>::max())) {
      throw UsageError("a blend of {} datasets: at most 32767 can be mixed", weights_.size());
    }
    counts_.resize(weights_.size());
    datasets_.reserve(static_cast<size_t>(size));
    samples_.reserve(static_cast<size_t>(size));
  }

  void step(const std::vector<int64_t>* limits) {
    const double drawn = std::max(static_cast<double>(datasets_.size()), 1.0);
    double most_behind = std::numeric_limits<double>::lowest();
    size_t child = 0;
    for (size_t i = 0; i < weights_.size(); ++i) {
      if (limits && counts_[i] >= (*limits)[i]) continue;
      const double behind = weights_[i] * drawn - static_cast<double>(counts_[i]);
      if (behind > most_behind) {
        most_behind = behind;
        child = i;
      }
    }
    datasets_.push_back(static_cast<int16_t>(child));
    samples_.push_back(counts_[child]++);
  }

  BlendIndex result() {
    return {IntegerArray(std::move(datasets_)), IntegerArray(std::move(samples_))};
  }

 private:
  std::vector<double> weights_;
  std::vector<int64_t> counts_;
  std::vector<int16_t> datasets_;
  std::vector<int64_t> samples_;
};

}  // namespace

Blend parse_blend(const std::vector<std::string>& words, const std::string& flag) {
  if (words.empty()) throw UsageError("--{} names no dataset", flag);
  if (words.size() % 2 == 1) return {words, std::nullopt};
  Blend blend;
  std::vector<double> weights;
  size_t names = 0;
  for (size_t i = 0; i < words.size(); i += 2) {
    const auto weight = as_number(words[i]);
    if (!weight) ++names;
    weights.push_back(weight.value_or(0));
    blend.prefixes.push_back(trimmed(words[i + 1]));
  }
  if (2 * names == words.size()) return {words, std::nullopt};
  for (size_t i = 0; i < weights.size(); ++i) {
    const std::string& word = words[2 * i];
    if (names > 0 && !as_number(word)) {
      throw UsageError(
          "--{}: '{}' stands where a weight was expected; give a weight before every dataset, "
          "or none at all",
          flag, word);
    }
    if (!(weights[i] > 0) || !std::isfinite(weights[i])) {
      throw UsageError(
          "--{}: the weight of {} is '{}'; weights are greater than 0 (leave a "
          "dataset out to not use it)",
          flag, blend.prefixes[i], word);
    }
  }
  blend.weights = std::move(weights);
  return blend;
}

int64_t planned_samples(int64_t size, double weight) {
  return static_cast<int64_t>(std::ceil(static_cast<double>(size) * weight));
}

int64_t samples_to_ask(int64_t size, double weight, double surplus) {
  const auto planned = static_cast<double>(planned_samples(size, weight));
  return static_cast<int64_t>(std::ceil(planned * (1 + surplus)));
}

BlendIndex blend_by_weight(const std::vector<double>& weights, int64_t size) {
  GreedyBlend blend(weights, size);
  for (int64_t i = 0; i < size; ++i) blend.step(nullptr);
  return blend.result();
}

BlendIndex blend_exhaustively(const std::vector<int64_t>& sizes) {
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  std::vector<double> weights;
  for (const int64_t size : sizes) {
    weights.push_back(static_cast<double>(size) / static_cast<double>(total));
  }
  GreedyBlend blend(std::move(weights), total);
  for (int64_t i = 0; i < total; ++i) blend.step(&sizes);
  return blend.result();
}

std::vector<int64_t> blend_counts(const BlendIndex& index, size_t num_children) {
  std::vector<int64_t> counts(num_children);
  for (int64_t i = 0; i < index.dataset.size(); ++i) {
    ++counts[static_cast<size_t>(index.dataset[i])];
  }
  return counts;
}

}  // namespace megalith

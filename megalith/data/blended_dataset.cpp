#include "megalith/data/blended_dataset.hpp"

#include <stdexcept>

#include "megalith/core/error.hpp"

namespace megalith {

BlendedDataset::BlendedDataset(std::vector<std::shared_ptr<const Dataset>> children,
                               BlendIndex index)
    : children_(std::move(children)), index_(std::move(index)) {
  const auto counts = blend_counts(index_, children_.size());
  for (size_t i = 0; i < children_.size(); ++i) {
    if (counts[i] > children_[i]->num_samples()) {
      throw UsageError("a blend draws {} samples of its dataset {}, which holds {}", counts[i], i,
                       children_[i]->num_samples());
    }
  }
}

const Dataset& BlendedDataset::child_of(int64_t k) const {
  if (k < 0 || k >= num_samples()) {
    throw std::out_of_range(fmt::format("sample {} of a blend of {}", k, num_samples()));
  }
  return *children_[static_cast<size_t>(index_.dataset[k])];
}

Sample BlendedDataset::sample(int64_t k) const { return child_of(k).sample(index_.sample[k]); }

std::string BlendedDataset::place(int64_t k, int64_t position) const {
  return child_of(k).place(index_.sample[k], position);
}

int64_t BlendedDataset::tokens_per_epoch() const {
  int64_t total = 0;
  for (const auto& child : children_) total += child->tokens_per_epoch();
  return total;
}

std::string BlendedDataset::summary() const {
  std::string text =
      fmt::format("{} samples blended from {} datasets:", num_samples(), children_.size());
  const auto counts = blend_counts(index_, children_.size());
  for (size_t i = 0; i < children_.size(); ++i) {
    text += fmt::format("\n    {} of {}", counts[i], children_[i]->summary());
  }
  return text;
}

}  // namespace megalith

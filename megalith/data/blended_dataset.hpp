// Several datasets served as one, in the order that blending.hpp computes.
#pragma once

#include <memory>
#include <vector>

#include "megalith/data/blending.hpp"
#include "megalith/data/dataset.hpp"

namespace megalith {

class BlendedDataset final : public Dataset {
 public:
  /// Throws UsageError when the index draws more of a child than it holds.
  BlendedDataset(std::vector<std::shared_ptr<const Dataset>> children, BlendIndex index);

  int64_t num_samples() const override { return index_.dataset.size(); }
  Sample sample(int64_t k) const override;
  std::string place(int64_t k, int64_t position) const override;
  int64_t tokens_per_epoch() const override;
  int64_t min_tokens() const override { return children_.front()->min_tokens(); }
  std::string summary() const override;

  const BlendIndex& index() const { return index_; }
  const std::vector<std::shared_ptr<const Dataset>>& children() const { return children_; }

 private:
  const Dataset& child_of(int64_t k) const;

  std::vector<std::shared_ptr<const Dataset>> children_;
  BlendIndex index_;
};

}  // namespace megalith

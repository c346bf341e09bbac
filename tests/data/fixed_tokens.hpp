// A token source in memory: given sequences, or given lengths and ids that tell their place.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "megalith/data/token_source.hpp"

namespace megalith::testing {

class FixedTokens final : public TokenSource {
 public:
  /// Sequence s holds the ids 100 s, 100 s + 1, …
  explicit FixedTokens(std::vector<int32_t> lengths, std::string name = "fixed")
      : lengths_(std::move(lengths)), name_(std::move(name)) {}
  const std::string& name() const override { return name_; }
  std::span<const int32_t> sequence_lengths() const override { return lengths_; }
  void read(int64_t sequence, int64_t offset, std::span<int64_t> out) const override {
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = 100 * sequence + offset + static_cast<int64_t>(i);
    }
  }
  std::string place(int64_t sequence, int64_t offset) const override {
    return name_ + " " + std::to_string(sequence) + ":" + std::to_string(offset);
  }

 private:
  std::vector<int32_t> lengths_;
  std::string name_;
};

}  // namespace megalith::testing

// The merges of byte pair encoding, and their application to one piece of text.
//
// Works on ids only: the smallest rank first, the leftmost among equals. Short pieces are scanned;
// long ones use a heap over a linked list, so that a word of a megabyte costs n log n, not n
// squared. Read-only after construction, hence shared freely between threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace megalith {

/// `left` and `right` become `merged`; the place in the list is the rank.
struct BytePairMerge {
  int32_t left, right, merged;
};

class BytePairMerges {
 public:
  explicit BytePairMerges(const std::vector<BytePairMerge>& merges);

  /// Merges ids[from..] in place until no pair is known.
  void apply(std::vector<int32_t>& ids, size_t from) const;

 private:
  struct Slot {
    uint64_t pair;
    uint32_t rank;
    int32_t merged;
  };
  const Slot* find(int32_t left, int32_t right) const;
  uint32_t rank(int32_t left, int32_t right) const;
  void apply_short(std::vector<int32_t>& ids, size_t from) const;
  void apply_long(std::vector<int32_t>& ids, size_t from) const;

  std::vector<Slot> slots_;  // open addressing, at most half full
  int shift_ = 0;
};

}  // namespace megalith

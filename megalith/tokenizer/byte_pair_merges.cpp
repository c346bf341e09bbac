#include "megalith/tokenizer/byte_pair_merges.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <limits>
#include <queue>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kEmpty = std::numeric_limits<uint64_t>::max();
constexpr size_t kShortPiece = 48;
constexpr int kPlaceBits = 40;  // a terabyte of text in one piece
constexpr uint64_t kPlaceMask = (uint64_t{1} << kPlaceBits) - 1;
constexpr size_t kMostMerges = size_t{1} << (64 - kPlaceBits);

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

/// What the heap of apply_long sorts by: the rank, then the place.
uint64_t candidate(uint32_t rank, size_t place) {
  return static_cast<uint64_t>(rank) << kPlaceBits | place;
}

uint64_t spread(uint64_t key) { return key * 0x9E3779B97F4A7C15ULL; }  // 2^64 / golden ratio

}  // namespace

BytePairMerges::BytePairMerges(const std::vector<BytePairMerge>& merges) {
  if (merges.size() > kMostMerges) throw UsageError("{} merges are too many", merges.size());
  const size_t num_slots = std::bit_ceil(std::max<size_t>(2 * merges.size(), 16));
  slots_.assign(num_slots, {kEmpty, kNoRank, 0});
  shift_ = 64 - std::countr_zero(num_slots);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const uint64_t pair = pair_key(merges[rank].left, merges[rank].right);
    size_t slot = spread(pair) >> shift_;
    while (slots_[slot].pair != kEmpty && slots_[slot].pair != pair) {
      slot = (slot + 1) & (num_slots - 1);
    }
    slots_[slot] = {pair, static_cast<uint32_t>(rank), merges[rank].merged};
  }
}

const BytePairMerges::Slot* BytePairMerges::find(int32_t left, int32_t right) const {
  const uint64_t pair = pair_key(left, right);
  size_t slot = spread(pair) >> shift_;
  while (slots_[slot].pair != pair) {
    if (slots_[slot].pair == kEmpty) return nullptr;
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return &slots_[slot];
}

uint32_t BytePairMerges::rank(int32_t left, int32_t right) const {
  const Slot* slot = find(left, right);
  return slot == nullptr ? kNoRank : slot->rank;
}

void BytePairMerges::apply(std::vector<int32_t>& ids, size_t from) const {
  if (ids.size() - from < 2) return;
  ids.size() - from <= kShortPiece ? apply_short(ids, from) : apply_long(ids, from);
}

void BytePairMerges::apply_short(std::vector<int32_t>& ids, size_t from) const {
  std::array<uint32_t, kShortPiece> ranks;  // of the pair (i, i + 1)
  int32_t* id = ids.data() + from;
  size_t size = ids.size() - from;
  for (size_t i = 0; i + 1 < size; ++i) ranks[i] = rank(id[i], id[i + 1]);
  while (size > 1) {
    const auto best = std::min_element(ranks.begin(), ranks.begin() + (size - 1));
    if (*best == kNoRank) break;
    const auto at = static_cast<size_t>(best - ranks.begin());
    id[at] = find(id[at], id[at + 1])->merged;
    std::copy(id + at + 2, id + size, id + at + 1);
    if (at + 2 < size) std::copy(best + 2, ranks.begin() + (size - 1), best + 1);
    --size;
    if (at > 0) ranks[at - 1] = rank(id[at - 1], id[at]);
    if (at + 1 < size) ranks[at] = rank(id[at], id[at + 1]);
  }
  ids.resize(from + size);
}

void BytePairMerges::apply_long(std::vector<int32_t>& ids, size_t from) const {
  // Elements keep their place; `next` and `previous` skip the swallowed ones. A candidate in the
  // heap is stale when its left element is gone or its pair has another rank by now.
  const size_t size = ids.size() - from;
  constexpr int32_t kGone = -1;
  int32_t* id = ids.data() + from;
  std::vector<size_t> next(size), previous(size);
  std::vector<uint64_t> first;
  for (size_t i = 0; i < size; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;  // wraps at 0, tested before use
    const uint32_t pair_rank = i + 1 < size ? rank(id[i], id[i + 1]) : kNoRank;
    if (pair_rank != kNoRank) first.push_back(candidate(pair_rank, i));
  }
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> heap(std::greater<>(),
                                                                            std::move(first));
  while (!heap.empty()) {
    const auto pair_rank = static_cast<uint32_t>(heap.top() >> kPlaceBits);
    const size_t left = heap.top() & kPlaceMask;
    heap.pop();
    const size_t right = next[left];
    if (id[left] == kGone || right == size) continue;
    const Slot* slot = find(id[left], id[right]);
    if (slot == nullptr || slot->rank != pair_rank) continue;
    id[left] = slot->merged;
    id[right] = kGone;
    next[left] = next[right];
    if (next[left] < size) previous[next[left]] = left;
    const auto push = [&](size_t a, size_t b) {
      const uint32_t new_rank = rank(id[a], id[b]);
      if (new_rank != kNoRank) heap.push(candidate(new_rank, a));
    };
    if (left > 0) push(previous[left], left);
    if (next[left] < size) push(left, next[left]);
  }
  ids.erase(std::remove(ids.begin() + static_cast<int64_t>(from), ids.end(), kGone), ids.end());
}

}  // namespace megalith

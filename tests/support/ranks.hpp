// Ranks as threads of one process, for every test that states "serial equals parallel".
//
// Each rank is a thread with its own ProcessGroups; their collectives meet at a mutex and condition
// variables, add in rank order (the same bits on every rank, always) and never touch a socket. A
// mistake is an error, not a hang: differing shapes, types or operations name both sides, a missing
// rank is reported as "2 of 4 joined". A few tests run the same bodies over gloo, which real runs
// on CPUs use.
#pragma once

#include <chrono>
#include <functional>

#include "megalith/parallel/process_groups.hpp"

namespace megalith::testing {

/// What the body of one rank is given.
class RankContext {
 public:
  explicit RankContext(const ProcessGroups& groups) : groups_(groups) {}
  const ProcessGroups& groups() const { return groups_; }
  int64_t rank() const { return groups_.world_rank(); }

 private:
  const ProcessGroups& groups_;
};

using RankBody = std::function<void(RankContext&)>;

/// Runs `body` on layout.world_size() threads, each with one ATen thread, and returns when all have
/// ended. Rethrows the first failure as a RunError that names its rank; the other ranks' waits are
/// released. A collective that not all ranks of its group join fails after `patience`, or at once
/// when a missing rank's body has ended.
void run_ranks(const Layout& layout, const RankBody& body,
               std::chrono::milliseconds patience = std::chrono::seconds(20));

/// The same over gloo on the loopback device. Slower. Calls that differ are an error here too; a
/// missing rank is only noticed by gloo's own time-out.
void run_gloo_ranks(const Layout& layout, const RankBody& body);

}  // namespace megalith::testing

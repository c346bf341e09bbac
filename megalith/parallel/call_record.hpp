// What one rank is doing right now: the phase of the run and the collectives it waits in.
//
// Shared by all groups of a rank and read by the thread that looks for failures
// (failure_watch.hpp), so every member may be called from any thread. Not a trace: a call that has
// ended is forgotten; Traffic (process_groups.hpp) counts. Promise: noting a phase or a call costs
// well under a microsecond, and once a failure is known no further call begins.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "megalith/core/error.hpp"

namespace megalith {

/// Another rank is dead, stalled or has failed, as far as this one can tell. Never posted as this
/// rank's own failure.
struct PeerLost : RunError {
  using RunError::RunError;
};

/// One wait for other ranks, described as a person would look for it.
struct Call {
  std::string operation;   // "all_reduce"; or words: "reading a key of the store"
  std::string group = {};  // "tensor"; empty when the wait is no collective
  std::vector<int64_t> ranks = {};
  const char* type = nullptr;  // of the elements, with elements and bytes; null: none
  int64_t elements = 0, bytes = 0;
  std::chrono::milliseconds limit{0};  // more than the time-out by this

  int64_t number = 0;  // counts this group's calls, from 1: the same on every rank of it
  std::string phase = {};
  std::chrono::steady_clock::time_point started = {};

  /// "all_reduce of 512 Float (2048 bytes), group 'data' of ranks 0, 2, call 12, iteration 3, ..."
  std::string text() const;
  double seconds() const;
};

class CallRecord {
 public:
  /// Where the run is, e.g. "iteration 12, micro-batch 0, forward"; forgets the layer.
  void set_phase(std::string phase);
  /// The layer whose forward runs; -1 for none.
  void set_layer(int64_t layer) { layer_.store(layer, std::memory_order_relaxed); }
  std::string phase() const;

  /// Notes a call that starts now and returns its ticket. Throws PeerLost once a failure is known.
  int64_t begin(Call call);
  /// How to ask whether the call has ended by itself, for backends whose wait() only orders
  /// streams.
  void set_done(int64_t ticket, std::function<bool()> is_done);
  /// The caller waits no more; a call that still runs on a device stays noted until it has ended.
  void end(int64_t ticket);
  Call at(int64_t ticket) const;
  /// The call that has been running for longest, if any.
  std::optional<Call> oldest();
  /// Since a call ended or a phase began.
  double seconds_outside() const;

  /// From now on begin() throws and interruptible waits end, with this text.
  void abort(const std::string& text);
  bool is_aborted() const { return aborted_.load(std::memory_order_acquire); }
  /// Whether somebody has been told so by PeerLost.
  bool is_abort_seen() const { return abort_seen_.load(std::memory_order_relaxed); }
  /// Throws PeerLost when aborted.
  void check() const;

  /// Whether every collective first compares operation, type, size and number with its peers: twice
  /// the traffic, and a mistake that gloo does not notice becomes an error. For tests.
  void compare_calls(bool compare) { compares_ = compare; }
  bool compares_calls() const { return compares_; }

  /// Turns the error of a failed call into the message for a person; may take seconds to ask
  /// others.
  using Explain = std::function<std::string(const Call&, const std::string& error)>;
  void set_explain(Explain explain);
  std::string explain(const Call& call, const std::string& error) const;

 private:
  struct Entry {
    int64_t ticket;
    Call call;
    std::function<bool()> is_done;
    bool is_waited_for;
  };
  void forget_done();
  std::string phase_locked() const;

  mutable std::mutex mutex_;
  std::string phase_ = "start-up";
  std::atomic<int64_t> layer_{-1};
  std::deque<Entry> calls_;
  std::map<std::string, int64_t> numbers_;  // by group
  int64_t next_ticket_ = 0;
  std::chrono::steady_clock::time_point outside_since_ = std::chrono::steady_clock::now();
  std::atomic<bool> aborted_{false};
  mutable std::atomic<bool> abort_seen_{false};
  std::string abort_text_;
  std::atomic<bool> compares_{false};
  Explain explain_;
};

/// A wait that is no collective (the store, the forming of a group) for as long as this lives.
class NotedCall {
 public:
  NotedCall(CallRecord& record, Call call)
      : record_(record), ticket_(record.begin(std::move(call))) {}
  ~NotedCall() { record_.end(ticket_); }
  NotedCall(const NotedCall&) = delete;
  NotedCall& operator=(const NotedCall&) = delete;
  Call call() const { return record_.at(ticket_); }

 private:
  CallRecord& record_;
  int64_t ticket_;
};

}  // namespace megalith

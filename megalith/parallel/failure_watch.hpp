// Watches one rank's waits, and finds out with the other ranks who is at fault when one fails.
//
// Two threads. One talks with the store over a connection of its own: twice a second it looks
// whether some rank has raised the alarm; then every rank posts what it is doing, and whoever does
// not answer within seconds is dead or stalled. The other never touches the store, so that it can
// end the process when the store, or a device, does not answer either. Promise: from the moment a
// call fails or is overdue, a message that names the rank at fault is there within about ten
// seconds, whatever is dead; failure_report.hpp words it.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "megalith/parallel/call_record.hpp"

namespace c10d {
class Store;
}

namespace megalith {

struct FailureWatchOptions {
  int64_t rank = 0;
  int64_t world_size = 1;
  std::chrono::milliseconds timeout{};  // of a call; Call::limit adds to it
  std::string store_name;               // "the store at 127.0.0.1:29500, which rank 0 serves"
  bool is_served_by_first = true;       // rank 0 takes the store with it when it ends
  /// Ends the process when the rank's own thread cannot; the message is for its user.
  std::function<void(const std::string& message)> end_process;
};

class FailureWatch {
 public:
  /// Counts rank 0's signs of life in the store, for waits that have no time-out.
  static constexpr const char* kFirstAliveKey = "alive/0";

  /// Watches the calls in `calls` from now on, without a store yet.
  FailureWatch(FailureWatchOptions options, std::shared_ptr<CallRecord> calls);
  /// In good order: says so to the others; rank 0 waits some seconds for theirs, as it may serve
  /// the store. While an exception unwinds: at once.
  ~FailureWatch();
  FailureWatch(const FailureWatch&) = delete;
  FailureWatch& operator=(const FailureWatch&) = delete;

  /// Begins to talk with the other ranks over `store`, used by nothing else.
  void connect(c10::intrusive_ptr<c10d::Store> store);

  /// Why a call of this rank failed, after asking the others. At most some seconds.
  std::string explain(const Call& call, const std::string& error);

  /// Tells the others that this rank fails by an error of its own; returns when they can know.
  void post_failure(const std::string& error);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;  // the talking thread may have to be left behind
  std::thread watcher_, talker_;
};

}  // namespace megalith

// What the ranks tell each other when a run fails, and the message made of it.
//
// Pure text: no thread, no store, so that every case is a unit test; failure_watch.hpp carries it.
// Promise: the first line of the message names the rank at fault, or says that none can be named.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace megalith {

/// How a rank answers when it is asked what it is doing.
struct RankStatus {
  enum class State {
    kFailed,   // by an error of its own; text: the error
    kLost,     // a call of it failed or took too long; text: the call and why
    kWaiting,  // in a call; text: the call
    kBusy,     // in no call; text: the phase
    kEnded,    // has left the run in good order
  };
  State state = State::kBusy;
  std::string text = {};
  double seconds = 0;  // how long it has been so

  std::string encode() const;
  /// Nothing when `text` is no status.
  static std::optional<RankStatus> decode(const std::string& text);
};

/// How far the store could be asked.
enum class StoreState { kAnswers, kGone, kSilent };

struct FailureView {
  int64_t rank = 0;
  std::vector<std::optional<RankStatus>> answers;  // by world rank; nothing: no answer
  double asked_seconds = 0;                        // how long the others had to answer
  StoreState store = StoreState::kAnswers;
  std::string store_name;  // "the store at 127.0.0.1:29500, which rank 0 serves"
  bool is_served_by_first = true;
  double stood_still_seconds = 0;  // how long this process itself did not run
};

/// The message for a person, several lines, without an end of line.
std::string failure_text(const FailureView& view);

}  // namespace megalith

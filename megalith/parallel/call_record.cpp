#include "megalith/parallel/call_record.hpp"

#include <algorithm>

namespace megalith {

using Clock = std::chrono::steady_clock;

std::string Call::text() const {
  std::string text = operation;
  if (type) text += fmt::format(" of {} {} ({} bytes)", elements, type, bytes);
  if (!group.empty()) {
    text += fmt::format(", group '{}' of ranks {}", group, fmt::join(ranks, ", "));
    if (number > 0) text += fmt::format(", call {}", number);
  }
  return phase.empty() ? text : text + ", " + phase;
}

double Call::seconds() const {
  return std::chrono::duration<double>(Clock::now() - started).count();
}

void CallRecord::set_phase(std::string phase) {
  const std::lock_guard lock(mutex_);
  phase_ = std::move(phase);
  set_layer(-1);
  outside_since_ = Clock::now();
}

std::string CallRecord::phase_locked() const {
  const int64_t layer = layer_.load(std::memory_order_relaxed);
  return layer < 0 ? phase_ : fmt::format("{}, layer {}", phase_, layer);
}

std::string CallRecord::phase() const {
  const std::lock_guard lock(mutex_);
  return phase_locked();
}

/// Calls are few and mostly end in their order; what a device has finished goes from the front.
void CallRecord::forget_done() {
  while (!calls_.empty() && !calls_.front().is_waited_for && calls_.front().is_done &&
         calls_.front().is_done()) {
    calls_.pop_front();
  }
}

int64_t CallRecord::begin(Call call) {
  check();
  const std::lock_guard lock(mutex_);
  forget_done();
  if (call.type) call.number = ++numbers_[call.group];
  call.phase = phase_locked();
  call.started = Clock::now();
  calls_.push_back({++next_ticket_, std::move(call), nullptr, true});
  return next_ticket_;
}

void CallRecord::set_done(int64_t ticket, std::function<bool()> is_done) {
  const std::lock_guard lock(mutex_);
  for (auto& entry : calls_) {
    if (entry.ticket == ticket) entry.is_done = std::move(is_done);
  }
}

void CallRecord::end(int64_t ticket) {
  const std::lock_guard lock(mutex_);
  outside_since_ = Clock::now();
  const auto entry = std::find_if(calls_.begin(), calls_.end(),
                                  [&](const Entry& each) { return each.ticket == ticket; });
  if (entry == calls_.end()) return;
  entry->is_waited_for = false;
  if (!entry->is_done || entry->is_done()) calls_.erase(entry);
}

Call CallRecord::at(int64_t ticket) const {
  const std::lock_guard lock(mutex_);
  for (const auto& entry : calls_) {
    if (entry.ticket == ticket) return entry.call;
  }
  return {};
}

std::optional<Call> CallRecord::oldest() {
  const std::lock_guard lock(mutex_);
  forget_done();
  for (const auto& entry : calls_) {
    // One that a peer has answered is no wait, although nobody has collected its result yet.
    if (!entry.is_done || !entry.is_done()) return entry.call;
  }
  return std::nullopt;
}

double CallRecord::seconds_outside() const {
  const std::lock_guard lock(mutex_);
  return std::chrono::duration<double>(Clock::now() - outside_since_).count();
}

void CallRecord::abort(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (is_aborted()) return;
  abort_text_ = text;
  aborted_.store(true, std::memory_order_release);
}

void CallRecord::check() const {
  if (!is_aborted()) return;
  abort_seen_.store(true, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  throw PeerLost(abort_text_);
}

void CallRecord::set_explain(Explain explain) {
  const std::lock_guard lock(mutex_);
  explain_ = std::move(explain);
}

std::string CallRecord::explain(const Call& call, const std::string& error) const {
  Explain explain;
  {
    const std::lock_guard lock(mutex_);
    explain = explain_;
  }
  if (explain) return explain(call, error);
  return fmt::format("{} failed: {}", call.text(), error);
}

}  // namespace megalith

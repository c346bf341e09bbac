#include "megalith/parallel/failure_watch.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "megalith/parallel/failure_report.hpp"

namespace megalith {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto kTick = 200ms;
// Beyond the polling interval: how long the others have to answer an alarm.
constexpr auto kPatience = 2500ms;
// A call is overdue only so much after its time-out: its backend, which knows more, should say so.
constexpr auto kOverdue = 2s;
// What a store may take over its part of that.
constexpr auto kSilent = 1s;
// Between the message being there and the end of a process whose own thread cannot take it.
constexpr auto kStuckInCall = 2s;
constexpr auto kStuckElsewhere = 10s;
// For unwinding, once the rank's own thread has the message: it may be deleting files.
constexpr auto kStuckUnwinding = 30s;
// How much later the others end than a rank that failed by an error of its own.
constexpr auto kGiveWay = 1s;
// How long whoever serves the store stays for the others.
constexpr auto kLinger = 5s;
// A process whose clock thread did not run for so long has been stopped.
constexpr auto kStoodStill = 3s;

std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }
std::string text_of(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

struct FailureWatch::Shared {
  Shared(FailureWatchOptions o, std::shared_ptr<CallRecord> c)
      : options(std::move(o)), calls(std::move(c)) {}

  void watch();
  void talk();

  void look(std::unique_lock<std::mutex>& lock);
  void raise(RankStatus status);
  void publish(StoreState state, std::vector<std::optional<RankStatus>> answers);
  RankStatus current_status() const;
  void confer();
  void leave();
  std::vector<std::string> keys(const char* kind) const;
  std::vector<std::optional<RankStatus>> answers_so_far() const;
  /// Waits until every named key is there; false after `limit`.
  bool wait_for_keys(const std::vector<std::string>& names, std::chrono::milliseconds limit);

  /// Grows with the world, so that its rank 0 is not kept busy by this.
  std::chrono::milliseconds interval() const {
    return std::clamp(std::chrono::milliseconds(2 * options.world_size), 500ms, 5000ms);
  }
  std::chrono::milliseconds patience() const { return interval() + kPatience; }
  bool serves() const { return options.rank == 0 && options.is_served_by_first; }

  const FailureWatchOptions options;
  const std::shared_ptr<CallRecord> calls;
  c10::intrusive_ptr<c10d::Store> store;  // of the talking thread alone

  std::mutex mutex;
  std::condition_variable changed;
  bool is_stopping = false, is_orderly = false;
  bool has_talked = false;           // the talking thread is through
  std::optional<RankStatus> raised;  // what this rank has raised the alarm with
  Clock::time_point raised_at;
  std::optional<Clock::time_point> store_lost_at;
  std::string message;  // empty until known
  Clock::time_point message_at;
  bool is_taken = false;  // the rank's own thread has the message, or its own error
  double stood_still_seconds = 0;
};

// ---------------------------------------------------------------- the thread that never blocks

void FailureWatch::Shared::watch() {
  std::unique_lock lock(mutex);
  auto last = Clock::now();
  while (!is_stopping) {
    changed.wait_for(lock, kTick, [&] { return is_stopping; });
    const auto now = Clock::now();
    if (now - last > kStoodStill) {
      stood_still_seconds += std::chrono::duration<double>(now - last).count();
    }
    last = now;
    if (!is_stopping) look(lock);
  }
}

void FailureWatch::Shared::look(std::unique_lock<std::mutex>& lock) {
  const auto now = Clock::now();
  const auto call = calls->oldest();
  if (!raised && message.empty() && call) {
    const bool is_overdue = now - call->started > options.timeout + call->limit + kOverdue;
    // Without its server nobody is left to wait for: the run is over for all that still wait.
    const bool is_orphaned = options.is_served_by_first && store_lost_at &&
                             now - *store_lost_at > kOverdue && now - call->started > kOverdue;
    if (is_overdue || is_orphaned) {
      raise({RankStatus::State::kLost,
             call->text() + (is_overdue ? ": longer than the time-out" : ""), call->seconds()});
    }
  }
  if (raised && message.empty() && now - raised_at > patience() + kSilent) {
    publish(StoreState::kSilent, {});
  }
  if (message.empty()) return;
  const bool is_known = is_taken || calls->is_abort_seen();
  const auto limit = is_known ? kStuckUnwinding : call ? kStuckInCall : kStuckElsewhere;
  if (now - message_at < limit) return;
  const std::string text = is_known ? "" : message;
  lock.unlock();
  options.end_process(text);
  lock.lock();
  is_stopping = true;
}

/// With the lock held.
void FailureWatch::Shared::raise(RankStatus status) {
  raised = std::move(status);
  raised_at = Clock::now();
  // Where the store is lost already nobody can be asked.
  if (store_lost_at) publish(StoreState::kGone, {});
  changed.notify_all();
}

/// With the lock held.
void FailureWatch::Shared::publish(StoreState state,
                                   std::vector<std::optional<RankStatus>> answers) {
  if (!message.empty()) return;
  FailureView view;
  view.rank = options.rank;
  view.answers = std::move(answers);
  view.answers.resize(static_cast<size_t>(options.world_size));
  auto& mine = view.answers[static_cast<size_t>(options.rank)];
  if (!mine) mine = raised ? *raised : current_status();
  view.asked_seconds = std::chrono::duration<double>(patience()).count();
  view.store = state;
  view.store_name = options.store_name;
  view.is_served_by_first = options.is_served_by_first;
  view.stood_still_seconds = stood_still_seconds;
  message = failure_text(view);
  message_at = Clock::now();
  calls->abort(message);
  changed.notify_all();
}

RankStatus FailureWatch::Shared::current_status() const {
  if (const auto call = calls->oldest()) {
    return {RankStatus::State::kWaiting, call->text(), call->seconds()};
  }
  return {RankStatus::State::kBusy, calls->phase(), calls->seconds_outside()};
}

// ---------------------------------------------------------------- the thread that may block

void FailureWatch::Shared::talk() {
  try {
    while (true) {
      if (options.rank == 0) store->add(kFirstAliveKey, 1);
      const bool is_alarm = store->check({"alarm"});
      std::unique_lock lock(mutex);
      if (is_alarm || raised) {
        lock.unlock();
        confer();
        break;
      }
      if (is_stopping) break;
      changed.wait_for(lock, interval(), [&] { return is_stopping || raised; });
    }
    leave();
  } catch (const std::exception&) {
    // Alone this means nothing: the others may have ended in good order. look() and explain()
    // know whether somebody waits.
    const std::lock_guard lock(mutex);
    store_lost_at = Clock::now();
    if (raised) publish(StoreState::kGone, {});
  }
  store.reset();
  const std::lock_guard lock(mutex);
  has_talked = true;
  changed.notify_all();
}

std::vector<std::string> FailureWatch::Shared::keys(const char* kind) const {
  std::vector<std::string> names;
  for (int64_t rank = 0; rank < options.world_size; ++rank) {
    names.push_back(fmt::format("{}/{}", kind, rank));
  }
  return names;
}

bool FailureWatch::Shared::wait_for_keys(const std::vector<std::string>& names,
                                         std::chrono::milliseconds limit) {
  const auto start = Clock::now();
  auto pause = 5ms;
  while (!store->check(names)) {
    if (Clock::now() - start > limit) return false;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, 100ms);
  }
  return true;
}

std::vector<std::optional<RankStatus>> FailureWatch::Shared::answers_so_far() const {
  std::vector<std::optional<RankStatus>> answers;
  for (const auto& key : keys("answer")) {
    answers.emplace_back();
    if (store->check({key})) answers.back() = RankStatus::decode(text_of(store->get(key)));
  }
  return answers;
}

/// Everybody says what it is doing; whoever does not is at fault.
void FailureWatch::Shared::confer() {
  RankStatus status;
  {
    const std::lock_guard lock(mutex);
    if (!raised) raised_at = Clock::now();
    status = raised ? *raised : current_status();
  }
  store->set(fmt::format("answer/{}", options.rank), bytes_of(status.encode()));
  store->set("alarm", bytes_of("raised"));
  wait_for_keys(keys("answer"), patience());
  const auto answers = answers_so_far();
  store->set(fmt::format("read/{}", options.rank), bytes_of("read"));
  if (serves()) {
    std::vector<std::string> readers;
    for (size_t rank = 0; rank < answers.size(); ++rank) {
      const bool reads = answers[rank] && answers[rank]->state != RankStatus::State::kEnded &&
                         answers[rank]->state != RankStatus::State::kFailed;
      if (reads) readers.push_back(fmt::format("read/{}", rank));
    }
    wait_for_keys(readers, patience());
  }
  // Whoever failed by an error of its own ends first: its exit status is the one that says most.
  const bool has_failed = std::any_of(answers.begin(), answers.end(), [](const auto& answer) {
    return answer && answer->state == RankStatus::State::kFailed;
  });
  if (has_failed && status.state != RankStatus::State::kFailed) {
    std::this_thread::sleep_for(kGiveWay);
  }
  const std::lock_guard lock(mutex);
  publish(StoreState::kAnswers, answers);
}

/// In good order: the answer to any alarm to come, and the server goes last.
void FailureWatch::Shared::leave() {
  {
    const std::lock_guard lock(mutex);
    if (!is_orderly) return;
  }
  const RankStatus status{RankStatus::State::kEnded};
  store->set(fmt::format("answer/{}", options.rank), bytes_of(status.encode()));
  if (serves()) wait_for_keys(keys("answer"), kLinger);
}

// ---------------------------------------------------------------- the rank's own thread

FailureWatch::FailureWatch(FailureWatchOptions options, std::shared_ptr<CallRecord> calls)
    : shared_(std::make_shared<Shared>(std::move(options), std::move(calls))) {
  watcher_ = std::thread([shared = shared_] { shared->watch(); });
}

void FailureWatch::connect(c10::intrusive_ptr<c10d::Store> store) {
  shared_->store = std::move(store);
  talker_ = std::thread([shared = shared_] { shared->talk(); });
}

FailureWatch::~FailureWatch() {
  bool has_talked = false;
  {
    std::unique_lock lock(shared_->mutex);
    shared_->is_orderly = std::uncaught_exceptions() == 0;
    shared_->is_stopping = true;
    shared_->changed.notify_all();
    const auto limit = shared_->is_orderly ? kLinger + kOverdue : 1s;
    has_talked = !talker_.joinable() ||
                 shared_->changed.wait_for(lock, limit, [&] { return shared_->has_talked; });
  }
  watcher_.join();
  if (!talker_.joinable()) return;
  // One that hangs in a store that does not answer is left behind; the process is about to end.
  if (has_talked) {
    talker_.join();
  } else {
    talker_.detach();
  }
}

std::string FailureWatch::explain(const Call& call, const std::string& error) {
  auto& shared = *shared_;
  std::unique_lock lock(shared.mutex);
  if (shared.message.empty() && !shared.raised) {
    shared.raise({RankStatus::State::kLost, call.text() + ": " + error, call.seconds()});
  }
  // look() sees to it that there is one in time.
  shared.changed.wait(lock, [&] { return !shared.message.empty(); });
  shared.is_taken = true;
  return shared.message;
}

void FailureWatch::post_failure(const std::string& error) {
  auto& shared = *shared_;
  std::unique_lock lock(shared.mutex);
  shared.is_taken = true;
  if (!shared.message.empty() || shared.raised || shared.has_talked || !talker_.joinable()) return;
  shared.raise({RankStatus::State::kFailed, error, 0});
  shared.changed.wait_for(lock, shared.patience() + kLinger,
                          [&] { return !shared.message.empty() || shared.has_talked; });
}

}  // namespace megalith

// Who is at fault: the message of every case, and ranks as threads that ask each other over one
// store.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include "megalith/parallel/call_record.hpp"
#include "megalith/parallel/failure_report.hpp"
#include "megalith/parallel/failure_watch.hpp"

namespace megalith::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using State = RankStatus::State;
using namespace std::chrono_literals;

FailureView view_of(int64_t rank, std::vector<std::optional<RankStatus>> answers) {
  FailureView view;
  view.rank = rank;
  view.answers = std::move(answers);
  view.asked_seconds = 3;
  view.store_name = "the store at 127.0.0.1:29500, which rank 0 serves";
  return view;
}

const RankStatus kLost{State::kLost, "all_reduce of 8 Float (32 bytes): closed", 1};
const RankStatus kWaiting{State::kWaiting, "all_reduce of 8 Float (32 bytes)", 2};
const RankStatus kBusy{State::kBusy, "iteration 3, micro-batch 0, forward", 7.5};

TEST(FailureReport, NamesWhoDoesNotAnswer) {
  const auto text = failure_text(view_of(0, {kLost, kWaiting, kWaiting, std::nullopt}));
  EXPECT_THAT(text, StartsWith("rank 0 of 4: rank 3 does not answer: dead, stalled or cut off\n"));
  EXPECT_THAT(text, HasSubstr("\n  rank 0: waited 1.0 s in all_reduce of 8 Float (32 bytes): clo"));
  EXPECT_THAT(text, HasSubstr("\n  rank 1: has waited 2.0 s in all_reduce"));
  EXPECT_THAT(text, HasSubstr("\n  rank 3: no answer within 3.0 s"));
  EXPECT_THAT(failure_text(view_of(0, {kLost, std::nullopt, std::nullopt})),
              HasSubstr("ranks 1, 2 do not answer"));
}

TEST(FailureReport, AnErrorOfARanksOwnComesBeforeWhoDoesNotAnswer) {
  const RankStatus failed{State::kFailed, "disk full", 0};
  EXPECT_THAT(failure_text(view_of(0, {kLost, failed, std::nullopt})),
              StartsWith("rank 0 of 3: rank 1 failed: disk full\n"));
}

TEST(FailureReport, AliveRanksAreLateOrEndedOrConfused) {
  EXPECT_THAT(failure_text(view_of(0, {kLost, kBusy})),
              HasSubstr("of 2: rank 1 is late: alive, but in no collective"));
  EXPECT_THAT(failure_text(view_of(0, {kLost, kBusy})),
              HasSubstr("rank 1: in no collective for 7.5 s: iteration 3, micro-batch 0"));
  EXPECT_THAT(failure_text(view_of(0, {kLost, RankStatus{State::kEnded}})),
              HasSubstr("rank 1 has ended already"));
  EXPECT_THAT(failure_text(view_of(0, {kLost, kWaiting})), HasSubstr("every rank is alive"));
}

TEST(FailureReport, ALostStoreIsRankZeros) {
  auto view = view_of(1, {std::nullopt, kLost, std::nullopt});
  view.store = StoreState::kGone;
  EXPECT_THAT(failure_text(view),
              StartsWith("rank 1 of 3: rank 0 is gone: dead or ended (the sto"));
  view.store = StoreState::kSilent;
  EXPECT_THAT(failure_text(view), StartsWith("rank 1 of 3: rank 0 is stalled, dead or cut off"));
  EXPECT_THAT(failure_text(view), Not(HasSubstr("rank 2")));
  view.is_served_by_first = false;
  EXPECT_THAT(failure_text(view), HasSubstr("no rank at fault can be named"));
}

TEST(FailureReport, ALargeRunListsTheTellingRanks) {
  std::vector<std::optional<RankStatus>> answers(100, kWaiting);
  answers[99] = std::nullopt;
  const auto text = failure_text(view_of(50, answers));
  EXPECT_THAT(text, HasSubstr("rank 99: no answer"));
  EXPECT_THAT(text, HasSubstr("rank 50: "));
  EXPECT_THAT(text, HasSubstr("and 84 more ranks"));
}

TEST(FailureReport, StatusesTravelAsText) {
  const RankStatus status{State::kLost, "two\nlines", 1.25};
  const auto back = RankStatus::decode(status.encode());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->state, State::kLost);
  EXPECT_EQ(back->text, "two\nlines");
  EXPECT_EQ(back->seconds, 1.25);
  EXPECT_FALSE(RankStatus::decode("nonsense"));
}

TEST(CallRecord, DescribesTheOldestCall) {
  CallRecord record;
  record.set_phase("iteration 12, micro-batch 0, forward");
  record.set_layer(3);
  const auto call = [](const char* operation) {
    Call c{operation, "data", {0, 2}};
    c.type = "Float";
    c.elements = 8;
    c.bytes = 32;
    return c;
  };
  const auto first = record.begin(call("all_reduce"));
  const auto second = record.begin(call("broadcast"));
  EXPECT_EQ(record.oldest()->text(),
            "all_reduce of 8 Float (32 bytes), group 'data' of ranks 0, 2, call 1, iteration 12, "
            "micro-batch 0, forward, layer 3");
  record.end(first);
  EXPECT_THAT(record.oldest()->text(), HasSubstr("call 2"));
  bool is_done = false;
  record.set_done(second, [&] { return is_done; });
  record.end(second);  // the host waits no more, the device still runs
  EXPECT_TRUE(record.oldest());
  is_done = true;
  EXPECT_FALSE(record.oldest());
  record.abort("rank 1 failed");
  EXPECT_THROW(record.begin(call("all_reduce")), PeerLost);
}

/// One rank of a run whose store is in memory.
struct WatchedRank {
  WatchedRank(int64_t rank, int64_t size, const c10::intrusive_ptr<c10d::Store>& store,
              std::chrono::milliseconds timeout = 60s) {
    FailureWatchOptions options;
    options.rank = rank;
    options.world_size = size;
    options.timeout = timeout;
    options.store_name = "the store";
    options.end_process = [this](const std::string& text) {
      const std::lock_guard lock(mutex);
      last_words = text;
    };
    watch = std::make_unique<FailureWatch>(options, calls);
    watch->connect(store);
  }
  /// What the watch's thread ended the process with, or "".
  std::string ended_with() {
    const std::lock_guard lock(mutex);
    return last_words;
  }
  std::mutex mutex;
  std::string last_words;
  std::shared_ptr<CallRecord> calls = std::make_shared<CallRecord>();
  std::unique_ptr<FailureWatch> watch;
};

TEST(FailureWatch, ALiveRankAnswersWhileItWaitsAndADeadOneDoesNot) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  WatchedRank first(0, 3, store), second(1, 3, store);  // rank 2 is not there
  second.calls->set_phase("validation");
  const auto ticket = second.calls->begin({"all_gather", "tensor", {0, 1}});
  const auto message = first.watch->explain({"all_reduce", "data", {0, 2}}, "closed by peer");
  EXPECT_THAT(message, StartsWith("rank 0 of 3: rank 2 does not answer"));
  EXPECT_THAT(message, HasSubstr("all_reduce, group 'data' of ranks 0, 2: closed by peer"));
  EXPECT_THAT(message, HasSubstr("in all_gather, group 'tensor' of ranks 0, 1, validation"));
  // The other has learned it too: its wait ends.
  for (int i = 0; i < 50 && !second.calls->is_aborted(); ++i) std::this_thread::sleep_for(100ms);
  EXPECT_THROW(second.calls->check(), PeerLost);
  second.calls->end(ticket);
}

TEST(FailureWatch, ARanksOwnErrorReachesTheOthersAtOnce) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  WatchedRank first(0, 2, store), second(1, 2, store);
  second.watch->post_failure("no space left");
  try {
    for (int i = 0; i < 50; ++i, std::this_thread::sleep_for(100ms)) first.calls->check();
    FAIL() << "not told";
  } catch (const PeerLost& error) {
    EXPECT_THAT(error.what(), StartsWith("rank 0 of 2: rank 1 failed: no space left"));
  }
}

TEST(FailureWatch, AnOverdueCallRaisesTheAlarmAndAStuckThreadEndsTheProcess) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  WatchedRank first(0, 2, store, 100ms), second(1, 2, store);
  second.calls->set_phase("building the model");
  const auto ticket = first.calls->begin({"all_reduce", "data", {0, 1}});
  for (int i = 0; i < 120 && first.ended_with().empty(); ++i) std::this_thread::sleep_for(100ms);
  EXPECT_THAT(first.ended_with(), StartsWith("rank 0 of 2: rank 1 is late"));
  EXPECT_THAT(first.ended_with(), HasSubstr("building the model"));
  first.calls->end(ticket);
}

TEST(FailureWatch, RanksInGoodOrderEndQuietlyAndAtOnce) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> ranks;
  for (int64_t rank = 0; rank < 3; ++rank) {
    ranks.emplace_back([&, rank] { WatchedRank(rank, 3, store); });
  }
  for (auto& rank : ranks) rank.join();
  EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
}

}  // namespace
}  // namespace megalith::testing

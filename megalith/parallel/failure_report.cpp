#include "megalith/parallel/failure_report.hpp"

#include <charconv>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

using State = RankStatus::State;

constexpr const char* kStateNames[] = {"failed", "lost", "waiting", "busy", "ended"};
// Of a large run only so many ranks are listed, those that say most first.
constexpr size_t kMostLines = 16;

using Ranks = std::vector<int64_t>;

Ranks ranks_that(const FailureView& view, State state) {
  Ranks ranks;
  for (size_t rank = 0; rank < view.answers.size(); ++rank) {
    const auto& answer = view.answers[rank];
    if (answer && answer->state == state) ranks.push_back(static_cast<int64_t>(rank));
  }
  return ranks;
}

Ranks silent_ranks(const FailureView& view) {
  Ranks ranks;
  for (size_t rank = 0; rank < view.answers.size(); ++rank) {
    if (!view.answers[rank]) ranks.push_back(static_cast<int64_t>(rank));
  }
  return ranks;
}

std::string named(const Ranks& ranks) {
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ", "));
}

const char* verb(const Ranks& ranks, const char* one, const char* many) {
  return ranks.size() == 1 ? one : many;
}

/// Who is at fault, as far as it can be told: the first line.
std::string headline(const FailureView& view) {
  const auto failed = ranks_that(view, State::kFailed);
  if (!failed.empty()) {
    return fmt::format("rank {} failed: {}", failed[0],
                       view.answers[static_cast<size_t>(failed[0])]->text);
  }
  if (view.store != StoreState::kAnswers) {
    const bool is_gone = view.store == StoreState::kGone;
    if (view.is_served_by_first) {
      return fmt::format("rank 0 {} ({}, {})",
                         is_gone ? "is gone: dead or ended" : "is stalled, dead or cut off",
                         view.store_name, is_gone ? "is gone" : "does not answer");
    }
    return fmt::format("{}, {}, so no rank at fault can be named", view.store_name,
                       is_gone ? "is gone" : "does not answer");
  }
  if (const auto silent = silent_ranks(view); !silent.empty()) {
    return fmt::format("{} {} not answer: dead, stalled or cut off", named(silent),
                       verb(silent, "does", "do"));
  }
  if (const auto ended = ranks_that(view, State::kEnded); !ended.empty()) {
    return fmt::format("{} {} ended already", named(ended), verb(ended, "has", "have"));
  }
  if (const auto busy = ranks_that(view, State::kBusy); !busy.empty()) {
    return fmt::format(
        "{} {} late: alive, but in no collective (raise --distributed-timeout-minutes if the work "
        "may take so long)",
        named(busy), verb(busy, "is", "are"));
  }
  return "every rank is alive and waits: they are in different collectives, or cut off from each "
         "other";
}

std::string line_of(const FailureView& view, size_t rank) {
  const auto& answer = view.answers[rank];
  const std::string who = fmt::format("\n  rank {}: ", rank);
  if (!answer) {
    if (view.store != StoreState::kAnswers) return "";  // nobody could be asked
    return who + fmt::format("no answer within {:.1f} s", view.asked_seconds);
  }
  switch (answer->state) {
    case State::kFailed:
      return who + "failed: " + answer->text;
    case State::kLost:
      return who + fmt::format("waited {:.1f} s in {}", answer->seconds, answer->text);
    case State::kWaiting:
      return who + fmt::format("has waited {:.1f} s in {}", answer->seconds, answer->text);
    case State::kBusy:
      return who + fmt::format("in no collective for {:.1f} s: {}", answer->seconds, answer->text);
    case State::kEnded:
      return who + "ended in good order";
  }
  return "";
}

/// Silent and failed ranks first, then the one that reports, then the rest.
std::vector<size_t> order_of_lines(const FailureView& view) {
  std::vector<size_t> first, rest;
  for (size_t rank = 0; rank < view.answers.size(); ++rank) {
    const auto& answer = view.answers[rank];
    const bool is_telling =
        !answer || answer->state == State::kFailed || static_cast<int64_t>(rank) == view.rank;
    (is_telling ? first : rest).push_back(rank);
  }
  first.insert(first.end(), rest.begin(), rest.end());
  return first;
}

}  // namespace

std::string RankStatus::encode() const {
  return fmt::format("{}\n{:.3f}\n{}", kStateNames[static_cast<int>(state)], seconds, text);
}

std::optional<RankStatus> RankStatus::decode(const std::string& text) {
  const auto first = text.find('\n');
  const auto second = first == std::string::npos ? first : text.find('\n', first + 1);
  if (second == std::string::npos) return std::nullopt;
  RankStatus status;
  status.text = text.substr(second + 1);
  const char* const begin = text.data() + first + 1;
  if (std::from_chars(begin, text.data() + second, status.seconds).ec != std::errc()) {
    return std::nullopt;
  }
  const std::string name = text.substr(0, first);
  for (int state = 0; state < static_cast<int>(std::size(kStateNames)); ++state) {
    if (name != kStateNames[state]) continue;
    status.state = static_cast<State>(state);
    return status;
  }
  return std::nullopt;
}

std::string failure_text(const FailureView& view) {
  std::string text =
      fmt::format("rank {} of {}: {}", view.rank, view.answers.size(), headline(view));
  if (view.stood_still_seconds > 0) {
    text += fmt::format(
        "\n  this process, rank {}, itself did not run for {:.1f} s (stopped, or starved of CPU)",
        view.rank, view.stood_still_seconds);
  }
  const auto order = order_of_lines(view);
  const bool is_small = order.size() <= kMostLines;
  for (size_t i = 0; i < order.size() && i < kMostLines; ++i) {
    text += line_of(view, is_small ? i : order[i]);
  }
  if (!is_small) text += fmt::format("\n  and {} more ranks", order.size() - kMostLines);
  return text;
}

}  // namespace megalith

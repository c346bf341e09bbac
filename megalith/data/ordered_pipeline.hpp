// One producer, several workers, one consumer: what is consumed keeps the order of what was
// produced.
//
// Bounded: no more than `max_items` items, and beyond the first no more than `max_weight` of
// weight, are between producer and consumer. A failure anywhere is rethrown to the caller in the
// order of the items (so the first broken one is reported, whatever the number of workers), with
// all threads ended.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace megalith {

template <class Input, class Output>
class OrderedPipeline {
 public:
  struct Stages {
    /// Called by one thread; false at the end.
    std::function<bool(Input&)> produce;
    /// Called once by each worker thread; gives the function that this worker uses.
    std::function<std::function<Output(Input&&)>()> make_worker;
    /// Called by the thread that calls run().
    std::function<void(Output&&)> consume;
    std::function<int64_t(const Input&)> weight;
  };
  struct Limits {
    int64_t num_workers = 1;
    int64_t max_items = 8;
    int64_t max_weight = 0;
  };

  OrderedPipeline(Stages stages, Limits limits) : stages_(std::move(stages)), limits_(limits) {}

  /// Runs to the end of the input. Rethrows the first failure.
  void run() {
    std::vector<std::jthread> threads;
    const Stop stop_at_exit{*this};  // before the threads are joined
    threads_begin(threads);
    consume_all();
  }

 private:
  struct Ticket {
    int64_t number;
    int64_t weight;
    Input input;
  };
  struct Result {
    int64_t weight = 0;
    std::optional<Output> output;
    std::exception_ptr failure;
  };
  struct Stop {
    OrderedPipeline& pipeline;
    ~Stop() { pipeline.stop(); }
  };

  void threads_begin(std::vector<std::jthread>& threads) {
    threads.emplace_back([this] { produce_all(); });
    for (int64_t i = 0; i < limits_.num_workers; ++i) {
      threads.emplace_back([this] { work(); });
    }
  }

  bool has_room() const {
    return num_flying_ == 0 || (num_flying_ < limits_.max_items && weight_ < limits_.max_weight);
  }

  void produce_all() {
    int64_t number = 0;
    try {
      for (Input input; stages_.produce(input); ++number, input = Input()) {
        const int64_t weight = stages_.weight(input);
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopped_ || has_room(); });
        if (stopped_) return;
        ++num_flying_;
        weight_ += weight;
        waiting_.push_back({number, weight, std::move(input)});
        changed_.notify_all();
      }
    } catch (...) {
      add_result(number++, {0, std::nullopt, std::current_exception()});
    }
    const std::lock_guard lock(mutex_);
    num_produced_ = number;
    changed_.notify_all();
  }

  void work() {
    std::function<Output(Input &&)> worker;
    while (auto ticket = next_ticket()) {
      Result result{ticket->weight, std::nullopt, nullptr};
      try {
        if (!worker) worker = stages_.make_worker();
        result.output.emplace(worker(std::move(ticket->input)));
      } catch (...) {
        result.failure = std::current_exception();
      }
      add_result(ticket->number, std::move(result));
    }
  }

  std::optional<Ticket> next_ticket() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || !waiting_.empty() || num_produced_ >= 0; });
    if (stopped_ || waiting_.empty()) return std::nullopt;
    Ticket ticket = std::move(waiting_.front());
    waiting_.pop_front();
    return ticket;
  }

  void add_result(int64_t number, Result result) {
    const std::lock_guard lock(mutex_);
    results_.emplace(number, std::move(result));
    changed_.notify_all();
  }

  void consume_all() {
    for (int64_t number = 0;; ++number) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] {
        return results_.contains(number) || (num_produced_ >= 0 && number >= num_produced_);
      });
      const auto found = results_.find(number);
      if (found == results_.end()) return;
      Result result = std::move(found->second);
      results_.erase(found);
      lock.unlock();
      if (result.failure) std::rethrow_exception(result.failure);
      stages_.consume(std::move(*result.output));
      lock.lock();
      --num_flying_;
      weight_ -= result.weight;
      changed_.notify_all();
    }
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }

  Stages stages_;
  Limits limits_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Ticket> waiting_;
  std::map<int64_t, Result> results_;
  int64_t num_flying_ = 0, weight_ = 0, num_produced_ = -1;
  bool stopped_ = false;
};

}  // namespace megalith

#include "support/ranks.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "megalith/core/error.hpp"
#include "megalith/parallel/backends.hpp"
#include "megalith/parallel/collectives.hpp"

namespace megalith::testing {
namespace {

/// What one rank hands to a collective.
struct Offer {
  std::string operation;  // with its argument: "all_reduce SUM", "broadcast from 0"
  at::Tensor tensor;

  std::string describe() const {
    if (!tensor.defined()) return operation;
    return fmt::format("{} of {} {}", operation, c10::toString(tensor.scalar_type()),
                       fmt::join(tensor.sizes(), "x"));
  }
};

/// One collective of one group, from the first rank that joins to the last that leaves.
struct Round {
  explicit Round(size_t size) : offers(size) {}
  std::vector<std::optional<Offer>> offers;
  int64_t joined = 0, finished = 0;
  std::string mismatch;
  at::Tensor result;  // flat; each rank computes its share
};

/// State shared by all threads of one run_ranks.
struct World {
  std::mutex mutex;
  std::condition_variable changed;
  std::set<int64_t> ended;  // ranks whose body has returned
  std::string failure;      // the first one, with its rank
  std::chrono::milliseconds patience{};
  std::map<std::string, std::shared_ptr<Round>> open;  // by group: the round still being joined

  void fail(int64_t rank, const std::string& what) {
    const std::lock_guard lock(mutex);
    if (failure.empty()) failure = fmt::format("rank {}: {}", rank, what);
  }
  void end(int64_t rank) {
    const std::lock_guard lock(mutex);
    ended.insert(rank);
    changed.notify_all();
  }
};

class FinishedWork : public c10d::Work {
 public:
  bool isCompleted() override { return true; }
  bool isSuccess() const override { return true; }
  bool wait(std::chrono::milliseconds) override { return true; }
};

/// The thread ranks' c10d backend: every call returns finished work.
class ThreadBackend : public c10d::Backend {
 public:
  ThreadBackend(std::shared_ptr<World> world, const std::string& name, int64_t rank,
                std::vector<int64_t> ranks)
      : c10d::Backend(static_cast<int>(rank), static_cast<int>(ranks.size())),
        world_(std::move(world)),
        key_(fmt::format("{} {}", name, fmt::join(ranks, ","))),
        ranks_(std::move(ranks)) {}

  const std::string getBackendName() const override { return "threads"; }

  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions& options) override {
    const auto operation = static_cast<c10d::ReduceOp::RedOpType>(options.reduceOp.op_);
    const at::Tensor mine = tensors.at(0).view({-1});
    const char* names[] = {"SUM", "AVG", "PRODUCT", "MIN", "MAX"};
    TORCH_CHECK(operation == c10d::ReduceOp::SUM || operation == c10d::ReduceOp::MAX ||
                    operation == c10d::ReduceOp::MIN,
                "thread ranks cannot all_reduce by operation ", int(operation));
    return collective(
        fmt::format("all_reduce {}", names[operation]), tensors.at(0), mine.numel(),
        [&](Round& round, int64_t begin, int64_t count) {
          reduce_share(round, begin, count, operation);
        },
        [&](const Round& round) { mine.copy_(round.result); });
  }

  c10::intrusive_ptr<c10d::Work> _allgather_base(at::Tensor& output, at::Tensor& input,
                                                 const c10d::AllgatherOptions&) override {
    const at::Tensor rows = output.view({size_, -1});
    return collective("all_gather", input, 0, {}, [&](const Round& round) {
      for (int64_t r = 0; r < size_; ++r) rows[r].copy_(round.offers[r]->tensor.view({-1}));
    });
  }

  c10::intrusive_ptr<c10d::Work> broadcast(std::vector<at::Tensor>& tensors,
                                           const c10d::BroadcastOptions& options) override {
    return collective(fmt::format("broadcast from {}", options.rootRank), tensors.at(0), 0, {},
                      [&](const Round& round) {
                        if (rank_ != options.rootRank) {
                          tensors[0].copy_(round.offers[options.rootRank]->tensor);
                        }
                      });
  }

  c10::intrusive_ptr<c10d::Work> barrier(const c10d::BarrierOptions&) override {
    return collective("barrier", {}, 0, {}, [](const Round&) {});
  }

 private:
  using Share = std::function<void(Round&, int64_t begin, int64_t count)>;
  using Finish = std::function<void(const Round&)>;

  /// Joins; computes this rank's share of `round.result`; when all have, calls `finish`. A rank may
  /// write its own tensor only where no other can still read it, so a gather or broadcast waits
  /// once more at the end.
  c10::intrusive_ptr<c10d::Work> collective(const std::string& operation, const at::Tensor& tensor,
                                            int64_t shared_elements, const Share& share,
                                            const Finish& finish) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto round = join({operation, tensor}, shared_elements);
    if (share) {
      const int64_t begin = shared_elements * rank_ / size_;
      const int64_t end = shared_elements * (rank_ + 1) / size_;
      if (end > begin) share(*round, begin, end - begin);
      meet(*round, operation);
      finish(*round);
    } else {
      finish(*round);
      meet(*round, operation);
    }
    return c10::make_intrusive<FinishedWork>();
  }

  static void reduce_share(Round& round, int64_t begin, int64_t count,
                           c10d::ReduceOp::RedOpType operation) {
    at::Tensor out = round.result.narrow(0, begin, count);
    bool first = true;
    for (const auto& offer : round.offers) {
      const at::Tensor part = offer->tensor.view({-1}).narrow(0, begin, count);
      if (first) {
        out.copy_(part);
      } else if (operation == c10d::ReduceOp::SUM) {
        out.add_(part);
      } else if (operation == c10d::ReduceOp::MAX) {
        out.copy_(at::maximum(out, part));
      } else {
        out.copy_(at::minimum(out, part));
      }
      first = false;
    }
  }

  /// Waits until every rank of the group has brought its offer; the last one checks them.
  std::shared_ptr<Round> join(Offer offer, int64_t shared_elements) {
    std::unique_lock lock(world_->mutex);
    auto& open = world_->open[key_];
    if (!open) open = std::make_shared<Round>(size_);
    const auto round = open;
    const std::string operation = offer.operation;
    round->offers[rank_] = std::move(offer);
    if (++round->joined == size_) {
      open = nullptr;
      check(*round);
      if (shared_elements > 0 && round->mismatch.empty()) {
        round->result = at::empty({shared_elements}, round->offers[rank_]->tensor.options());
      }
      world_->changed.notify_all();
    } else {
      wait(lock, operation, *round, round->joined, "joined");
    }
    if (!round->mismatch.empty()) throw RunError("{}", round->mismatch);
    return round;
  }

  void meet(Round& round, const std::string& operation) {
    std::unique_lock lock(world_->mutex);
    if (++round.finished == size_) {
      world_->changed.notify_all();
    } else {
      wait(lock, operation, round, round.finished, "finished");
    }
  }

  /// Until `count` reaches the group's size, a rank of the group has failed or gone, or patience
  /// ends.
  void wait(std::unique_lock<std::mutex>& lock, const std::string& operation, const Round& round,
            const int64_t& count, const char* verb) {
    const auto lost = [&] {
      if (!world_->failure.empty()) return true;
      for (int64_t r = 0; r < size_; ++r) {
        if (!round.offers[r] && world_->ended.contains(ranks_[r])) return true;
      }
      return false;
    };
    world_->changed.wait_for(lock, world_->patience, [&] { return count == size_ || lost(); });
    if (count == size_) return;
    std::vector<int64_t> missing;
    for (int64_t r = 0; r < size_; ++r) {
      if (!round.offers[r]) missing.push_back(ranks_[r]);
    }
    throw RunError("{} of {} {} {} of group '{}'; missing: rank {}", count, size_, verb, operation,
                   key_, fmt::join(missing, ", "));
  }

  void check(Round& round) const {
    const auto& first = *round.offers[0];
    for (int64_t r = 1; r < size_; ++r) {
      if (round.offers[r]->describe() == first.describe()) continue;
      round.mismatch =
          fmt::format("group '{}': rank {} calls {}, rank {} calls {}", key_, ranks_[0],
                      first.describe(), ranks_[r], round.offers[r]->describe());
    }
  }

  std::shared_ptr<World> world_;
  std::string key_;
  std::vector<int64_t> ranks_;
};

using FactoryOfRank = std::function<BackendFactory(int64_t rank)>;

/// gloo takes tensors of different sizes without a word: compare before each call.
std::shared_ptr<CallRecord> comparing_calls() {
  auto calls = std::make_shared<CallRecord>();
  calls->compare_calls(true);
  return calls;
}

/// Bodies on threads; records the first failure in `world` and rethrows it at the end.
void run_threads(const std::shared_ptr<World>& world, const Layout& layout, const RankBody& body,
                 const FactoryOfRank& factory_of, bool compare_calls) {
  const auto run_rank = [&](int64_t rank) {
    at::set_num_threads(1);
    try {
      const ProcessGroups groups(layout, rank, factory_of(rank),
                                 compare_calls ? comparing_calls() : nullptr);
      RankContext context(groups);
      body(context);
    } catch (const c10::Error& error) {
      world->fail(rank, error.what_without_backtrace());
    } catch (const std::exception& error) {
      world->fail(rank, error.what());
    }
    world->end(rank);
  };
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < layout.world_size(); ++rank) threads.emplace_back(run_rank, rank);
  for (auto& thread : threads) thread.join();
  if (!world->failure.empty()) throw RunError("{}", world->failure);
}

}  // namespace

void run_ranks(const Layout& layout, const RankBody& body, std::chrono::milliseconds patience) {
  const auto world = std::make_shared<World>();
  world->patience = patience;
  run_threads(
      world, layout, body,
      [&](int64_t) -> BackendFactory {
        return [world](const std::string& name, int64_t rank, const std::vector<int64_t>& ranks) {
          return make_communicator(c10::make_intrusive<ThreadBackend>(world, name, rank, ranks));
        };
      },
      /*compare_calls=*/false);
}

void run_gloo_ranks(const Layout& layout, const RankBody& body) {
  // c10d's flight recorder belongs to the process and keeps its map of groups without a lock, so
  // ranks that are threads would crash in it now and then.
  setenv("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/1);
  const auto store = c10::make_intrusive<c10d::HashStore>();
  run_threads(
      std::make_shared<World>(), layout, body,
      [&](int64_t) -> BackendFactory {
        const auto device = std::make_shared<GlooDevice>(/*one_host=*/true, std::nullopt);
        return [store, device](const std::string& name, int64_t rank,
                               const std::vector<int64_t>& ranks) {
          const auto prefix = fmt::format("{} {}", name, fmt::join(ranks, ","));
          return make_gloo_communicator(c10::make_intrusive<c10d::PrefixStore>(prefix, store),
                                        *device, rank, static_cast<int64_t>(ranks.size()),
                                        std::chrono::seconds(20));
        };
      },
      /*compare_calls=*/true);
}

}  // namespace megalith::testing

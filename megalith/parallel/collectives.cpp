#include "megalith/parallel/collectives.hpp"

#include <ATen/ATen.h>
#include <cstring>
#include <exception>
#include <torch/csrc/distributed/c10d/Backend.hpp>

/// Present in builds with the address sanitizer, null in all others.
extern "C" [[gnu::weak]] void __lsan_ignore_object(const void* object);

namespace megalith {

class Communicator {
 public:
  Communicator(c10::intrusive_ptr<c10d::Backend> backend, WaitKind wait)
      : backend_(std::move(backend)), wait_(wait) {}
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  ~Communicator() {
    // The destructor of a backend waits for collectives that will never end once a rank has failed,
    // so that an exception on its way out would hang here: it is left to the end of the process.
    if (std::uncaught_exceptions() == 0) return;
    if (__lsan_ignore_object) __lsan_ignore_object(backend_.get());  // meant to stay, no leak
    backend_.release();
  }
  c10d::Backend& backend() { return *backend_; }
  WaitKind wait_kind() const { return wait_; }

 private:
  c10::intrusive_ptr<c10d::Backend> backend_;
  WaitKind wait_;
};

std::shared_ptr<Communicator> make_communicator(c10::intrusive_ptr<c10d::Backend> backend,
                                                WaitKind wait) {
  return std::make_shared<Communicator>(std::move(backend), wait);
}

std::string plain_message(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  return torch_error ? torch_error->what_without_backtrace() : error.what();
}

std::string first_line(const std::exception& error) {
  const std::string text = plain_message(error);
  return text.substr(0, text.find('\n'));
}

namespace {

c10d::ReduceOp::RedOpType c10d_op(Reduction reduction) {
  switch (reduction) {
    case Reduction::kSum:
      return c10d::ReduceOp::SUM;
    case Reduction::kMax:
      return c10d::ReduceOp::MAX;
    case Reduction::kMin:
      return c10d::ReduceOp::MIN;
  }
  TORCH_CHECK(false, "unknown reduction");
}

// Long enough that the exception at the end of a slice costs nothing beside the wait.
constexpr std::chrono::milliseconds kSlice{500};

/// One collective under way: noted in the group's records from its start to its end.
class NotedCollective {
 public:
  NotedCollective(const char* operation, const at::Tensor& tensor, const Group& group)
      : group_(group), calls_(group.calls ? group.calls : std::make_shared<CallRecord>()) {
    const auto bytes = static_cast<int64_t>(tensor.nbytes());
    if (group.traffic) {
      auto& entry = group.traffic->entries[std::string(operation) + " " + group.name];
      ++entry.calls;
      entry.bytes += bytes;
    }
    Call call{operation, group.name, group.ranks};
    call.type = c10::toString(tensor.scalar_type());
    call.elements = tensor.numel();
    call.bytes = bytes;
    ticket_ = calls_->begin(std::move(call));
  }

  ~NotedCollective() { calls_->end(ticket_); }
  NotedCollective(const NotedCollective&) = delete;
  NotedCollective& operator=(const NotedCollective&) = delete;

  template <class Start>
  void start(const Start& start_on) {
    try {
      if (calls_->compares_calls()) compare_with_peers();
      work_ = start_on(group_.communicator->backend());
    } catch (const std::exception& error) {
      raise_lost(first_line(error));
    }
    calls_->set_done(ticket_, [work = work_] { return work->isCompleted(); });
  }

  void wait() {
    try {
      if (group_.communicator->wait_kind() == WaitKind::kInSlices) {
        wait_in_slices();
      } else {
        work_->wait();
      }
    } catch (const PeerLost&) {
      calls_->end(ticket_);
      throw;
    } catch (const std::exception& error) {
      raise_lost(first_line(error));
    }
    calls_->end(ticket_);
  }

 private:
  /// Throws the same RunError on every rank of the group when not all make the same call.
  void compare_with_peers() {
    constexpr int64_t kTextBytes = 96;
    Call call = calls_->at(ticket_);
    call.phase.clear();
    call.group.clear();
    std::string text = fmt::format("{}, call {}", call.text(), call.number);
    text.resize(kTextBytes);
    at::Tensor mine = at::empty({kTextBytes}, at::kByte);
    std::memcpy(mine.data_ptr(), text.data(), text.size());
    at::Tensor all = at::empty({group_.size() * kTextBytes}, at::kByte);
    group_.communicator->backend()._allgather_base(all, mine)->wait();
    const auto text_of = [&](int64_t rank) {
      return std::string(static_cast<const char*>(all.data_ptr()) + rank * kTextBytes, kTextBytes);
    };
    for (int64_t rank = 1; rank < group_.size(); ++rank) {
      if (text_of(rank) == text_of(0)) continue;
      throw RunError("group '{}': rank {} calls {}; rank {} calls {}", group_.name, group_.ranks[0],
                     text_of(0).c_str(), group_.ranks[static_cast<size_t>(rank)],
                     text_of(rank).c_str());
    }
  }

  /// The backend's own time-out ends the work with an error; until then another thread may find
  /// out that the wait is in vain.
  void wait_in_slices() {
    while (!work_->isCompleted()) {
      calls_->check();
      try {
        work_->wait(kSlice);
      } catch (const c10::Error&) {
        // The end of the slice or the work's own error: below, the latter is thrown again.
      }
    }
    work_->wait(kSlice);
  }

  [[noreturn]] void raise_lost(const std::string& error) {
    // Still noted while the others are asked: that is what this rank is doing.
    const std::string text = calls_->explain(calls_->at(ticket_), error);
    calls_->end(ticket_);
    throw PeerLost(text);
  }

  const Group group_;
  const std::shared_ptr<CallRecord> calls_;
  int64_t ticket_ = 0;
  c10::intrusive_ptr<c10d::Work> work_;
};

/// Starts a collective, counts it, and gives the handle that turns a lost peer into a PeerLost.
template <class Start>
PendingCollective start(const char* operation, const at::Tensor& tensor, const Group& group,
                        const Start& start_on) {
  const auto collective = std::make_shared<NotedCollective>(operation, tensor, group);
  collective->start(start_on);
  return PendingCollective([collective] { collective->wait(); });
}

}  // namespace

void PendingCollective::wait() {
  if (wait_) std::exchange(wait_, nullptr)();
}

PendingCollective all_reduce_async(at::Tensor& tensor, const Group& group, Reduction reduction) {
  if (group.size() == 1) return {};
  TORCH_CHECK(tensor.is_contiguous(), "all_reduce needs a contiguous tensor, got strides ",
              tensor.strides());
  return start("all_reduce", tensor, group, [&](c10d::Backend& backend) {
    std::vector<at::Tensor> tensors{tensor.detach()};
    c10d::AllreduceOptions options;
    options.reduceOp = c10d_op(reduction);
    return backend.allreduce(tensors, options);
  });
}

void all_reduce(at::Tensor& tensor, const Group& group, Reduction reduction) {
  all_reduce_async(tensor, group, reduction).wait();
}

at::Tensor all_gather(const at::Tensor& tensor, const Group& group) {
  if (group.size() == 1) return tensor.unsqueeze(0);
  at::Tensor input = tensor.detach().contiguous();
  std::vector<int64_t> shape = input.sizes().vec();
  shape.insert(shape.begin(), group.size());
  at::Tensor output = at::empty(shape, input.options());
  // gloo puts the parts together along a dim that they have.
  at::Tensor part = input.dim() == 0 ? input.view({1}) : input;
  at::Tensor parts = input.dim() == 0 ? output : output.flatten(0, 1);
  start("all_gather", part, group, [&](c10d::Backend& backend) {
    return backend._allgather_base(parts, part);
  }).wait();
  return output;
}

void broadcast(at::Tensor& tensor, const Group& group, int64_t source) {
  if (group.size() == 1) return;
  TORCH_CHECK(tensor.is_contiguous(), "broadcast needs a contiguous tensor");
  start("broadcast", tensor, group, [&](c10d::Backend& backend) {
    std::vector<at::Tensor> tensors{tensor.detach()};
    c10d::BroadcastOptions options;
    options.rootRank = source;
    return backend.broadcast(tensors, options);
  }).wait();
}

void barrier(const Group& group) {
  if (group.size() == 1) return;
  at::Tensor token = at::zeros({1});
  start("barrier", token, group, [&](c10d::Backend& backend) { return backend.barrier(); }).wait();
}

}  // namespace megalith

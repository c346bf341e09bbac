#include "megalith/parallel/collectives.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>

namespace megalith {

class Communicator {
 public:
  explicit Communicator(c10::intrusive_ptr<c10d::Backend> backend) : backend_(std::move(backend)) {}
  c10d::Backend& backend() { return *backend_; }

 private:
  c10::intrusive_ptr<c10d::Backend> backend_;
};

std::shared_ptr<Communicator> make_communicator(c10::intrusive_ptr<c10d::Backend> backend) {
  return std::make_shared<Communicator>(std::move(backend));
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

/// The first line of a c10 error; the rest is a stack trace.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

[[noreturn]] void raise_lost(const char* operation, const Group& group,
                             const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  throw RunError("rank {} of {} in group '{}' ({} ranks): {} failed: {}", group.rank, group.size(),
                 group.name, group.size(), operation,
                 first_line(torch_error ? torch_error->what_without_backtrace() : error.what()));
}

/// Starts a collective, counts it, and gives the handle that turns a lost peer into a RunError.
template <class Start>
PendingCollective start(const char* operation, const at::Tensor& tensor, const Group& group,
                        const Start& start_on) {
  if (group.traffic) {
    auto& entry = group.traffic->entries[std::string(operation) + " " + group.name];
    ++entry.calls;
    entry.bytes += static_cast<int64_t>(tensor.nbytes());
  }
  c10::intrusive_ptr<c10d::Work> work;
  try {
    work = start_on(group.communicator->backend());
  } catch (const std::exception& error) {
    raise_lost(operation, group, error);
  }
  return PendingCollective([work, operation, group] {
    try {
      work->wait();
    } catch (const std::exception& error) {
      raise_lost(operation, group, error);
    }
  });
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

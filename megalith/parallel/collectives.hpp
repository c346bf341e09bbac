// The collectives everything else is written in.
//
// The only place that knows a group of one rank needs no traffic. Calls count themselves in the
// group's Traffic. The asynchronous form returns a handle; the tensor may not be read or written
// before wait(). Not differentiable: the autograd functions are in mappings.hpp.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>

#include <exception>
#include <string>

#include "megalith/parallel/process_groups.hpp"

namespace c10d {
class Work;
}

namespace megalith {

enum class Reduction { kSum, kMax, kMin };

/// A collective that may still be running.
class PendingCollective {
 public:
  PendingCollective() = default;
  explicit PendingCollective(std::function<void()> wait) : wait_(std::move(wait)) {}
  /// Blocks until the result is there. Throws PeerLost when a peer is lost or the call takes longer
  /// than the time-out, naming the rank at fault where groups come from Distributed.
  void wait();

 private:
  std::function<void()> wait_;
};

/// Sums (or max, min) `tensor` over the group, in place; it must be contiguous.
/// Communicates: `group`, every rank must call with the same shape and dtype.
void all_reduce(at::Tensor& tensor, const Group& group, Reduction reduction = Reduction::kSum);
PendingCollective all_reduce_async(at::Tensor& tensor, const Group& group,
                                   Reduction reduction = Reduction::kSum);

/// The ranks' tensors stacked along a new first dim: [...] -> [size, ...].
/// Communicates: `group`, every rank must call with the same shape and dtype.
at::Tensor all_gather(const at::Tensor& tensor, const Group& group);

/// Copies the tensor of group rank `source` to all, in place.
/// Communicates: `group`, every rank must call with the same shape and dtype.
void broadcast(at::Tensor& tensor, const Group& group, int64_t source);

/// Returns when every rank of the group has called.
void barrier(const Group& group);

/// The message of an exception, without LibTorch's stack trace; and its first line.
std::string plain_message(const std::exception& error);
std::string first_line(const std::exception& error);

/// How Work::wait of a backend behaves.
enum class WaitKind {
  kWhole,    // returns at once, or orders streams only: called once
  kInSlices  // blocks, and may be called again after its own time-out: an abort can end it
};

/// Wraps a c10d backend for BackendFactory.
std::shared_ptr<Communicator> make_communicator(c10::intrusive_ptr<c10d::Backend> backend,
                                                WaitKind wait = WaitKind::kWhole);

}  // namespace megalith

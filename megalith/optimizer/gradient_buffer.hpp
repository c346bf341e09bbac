// All gradients of a rank in one contiguous buffer, cut into buckets that are summed over the data
// ranks while the backward pass still runs.
//
// Parameters' gradients are views of the buffer: fp32 (double for a double model) whatever the
// compute dtype. The order is the reverse of the parameter list, so that buckets fill as backward
// proceeds; a bucket starts only after the one before it, so order and boundaries depend on the
// configuration only, never on arrival. Each bucket is padded to a multiple of the data group's
// size.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "megalith/parallel/collectives.hpp"
#include "megalith/parallel/parameter.hpp"
#include "megalith/parallel/process_groups.hpp"

namespace torch::autograd {
struct Node;
}

namespace megalith {

class GradientBuffer {
 public:
  /// `parameters` must outlive the buffer. `bucket_elements` is the size at which a bucket is
  /// closed.
  GradientBuffer(ParameterList& parameters, const Group& data, const Group& tensor,
                 int64_t bucket_elements);
  ~GradientBuffer();
  GradientBuffer(const GradientBuffer&) = delete;
  GradientBuffer& operator=(const GradientBuffer&) = delete;

  void zero();
  /// From the next backward on, buckets are summed as they fill: call before the step's last
  /// backward. Communicates: data, during that backward; every rank must run it over the same
  /// parameters.
  void reduce_during_next_backward();
  /// Starts what has not started, and waits. Afterwards every gradient is the sum over the data
  /// ranks, and over the tensor ranks where these hold parts of it. Communicates: data; tensor in
  /// one sum when the list has such parameters.
  void finish_reduction();

  /// Gradient of parameter `index` of the list, in its shape.
  const at::Tensor& gradient(size_t index) const { return views_[index]; }
  size_t num_buckets() const { return buckets_.size(); }

 private:
  struct Bucket {
    at::Tensor flat;
    int64_t num_parameters = 0;
    int64_t pending = 0;  // parameters whose gradient is not complete yet
    PendingCollective reduction;
  };
  struct Hook;
  void gradient_ready(size_t index);
  void start_ready_buckets();
  void sum_partial_gradients();

  ParameterList& parameters_;
  Group data_, tensor_;
  at::Tensor buffer_;
  std::vector<at::Tensor> views_;
  // Autograd's ends of the graph, one a parameter; held, since a parameter only refers to its own.
  std::vector<std::shared_ptr<torch::autograd::Node>> accumulators_;
  std::vector<uintptr_t> hooks_;
  std::vector<size_t> bucket_of_;
  std::vector<Bucket> buckets_;
  size_t next_bucket_ = 0;
  bool armed_ = false;
};

}  // namespace megalith

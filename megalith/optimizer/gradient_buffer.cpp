#include "megalith/optimizer/gradient_buffer.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

namespace megalith {

/// Runs when a parameter's gradient is complete: what autograd brought is added to its view, what
/// operators added there themselves (layers/gradient_sink.hpp) was before.
struct GradientBuffer::Hook : torch::autograd::FunctionPostHook {
  Hook(GradientBuffer& b, size_t i) : buffer(b), index(i) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    buffer.gradient_ready(index);
    return outputs;
  }
  GradientBuffer& buffer;
  size_t index;
};

GradientBuffer::GradientBuffer(ParameterList& parameters, const Group& data, const Group& tensor,
                               int64_t bucket_elements)
    : parameters_(parameters),
      data_(data),
      tensor_(tensor),
      views_(parameters.size()),
      bucket_of_(parameters.size()) {
  std::vector<int64_t> offsets(parameters.size()), bucket_starts{0};
  int64_t end = 0;
  for (size_t i = parameters.size(); i-- > 0;) {
    offsets[i] = end;
    bucket_of_[i] = buckets_.size();
    end += parameters[i].value.numel();
    const bool close = end - bucket_starts.back() >= bucket_elements || i == 0;
    if (close) {
      end = (end + data.size() - 1) / data.size() * data.size();
      bucket_starts.push_back(end);
      buckets_.emplace_back();
    }
  }
  const auto compute = parameters.front().value.scalar_type();
  const auto exact = compute == at::kDouble ? at::kDouble : at::kFloat;
  buffer_ = at::zeros({end}, parameters.front().value.options().dtype(exact).requires_grad(false));
  for (size_t b = 0; b < buckets_.size(); ++b) {
    buckets_[b].flat = buffer_.narrow(0, bucket_starts[b], bucket_starts[b + 1] - bucket_starts[b]);
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    at::Tensor& value = parameters[i].value;
    views_[i] = buffer_.narrow(0, offsets[i], value.numel()).view(value.sizes());
    if (compute != exact) value.set_grad_dtype(exact);
    value.mutable_grad() = views_[i];
    ++buckets_[bucket_of_[i]].num_parameters;
    accumulators_.push_back(torch::autograd::impl::grad_accumulator(value));
    hooks_.push_back(accumulators_[i]->add_post_hook(std::make_unique<Hook>(*this, i)));
  }
}

GradientBuffer::~GradientBuffer() {
  for (size_t i = 0; i < hooks_.size(); ++i) accumulators_[i]->del_post_hook(hooks_[i]);
}

void GradientBuffer::zero() { buffer_.zero_(); }

void GradientBuffer::reduce_during_next_backward() {
  for (auto& bucket : buckets_) {
    bucket.pending = bucket.num_parameters;
  }
  next_bucket_ = 0;
  armed_ = data_.size() > 1;
}

void GradientBuffer::gradient_ready(size_t index) {
  if (!armed_) return;
  --buckets_[bucket_of_[index]].pending;
  start_ready_buckets();
}

void GradientBuffer::start_ready_buckets() {
  while (next_bucket_ < buckets_.size() && buckets_[next_bucket_].pending <= 0) {
    auto& bucket = buckets_[next_bucket_++];
    bucket.reduction = all_reduce_async(bucket.flat, data_);
  }
}

void GradientBuffer::finish_reduction() {
  if (armed_) {
    armed_ = false;
    for (auto& bucket : buckets_) bucket.pending = 0;
    start_ready_buckets();
    for (auto& bucket : buckets_) bucket.reduction.wait();
  }
  sum_partial_gradients();
}

void GradientBuffer::sum_partial_gradients() {
  if (tensor_.size() == 1) return;
  std::vector<at::Tensor> partial;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i].partial_over_tensor) partial.push_back(views_[i].view(-1));
  }
  if (partial.empty()) return;
  at::Tensor flat = at::cat(partial);
  all_reduce(flat, tensor_);
  int64_t offset = 0;
  for (at::Tensor& view : partial) {
    view.copy_(flat.narrow(0, offset, view.numel()));
    offset += view.numel();
  }
}

}  // namespace megalith

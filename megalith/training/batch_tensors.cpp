#include "megalith/training/batch_tensors.hpp"

#include <ATen/ATen.h>

namespace megalith {
namespace {

template <class T>
at::Tensor rows(const std::vector<T>& values, const Batch& batch, at::ScalarType type,
                at::Device device) {
  // from_blob only reads; the clone owns its memory before the vector goes.
  return at::from_blob(const_cast<T*>(values.data()), {batch.batch_size, batch.seq_length},
                       at::TensorOptions(type))
      .clone()
      .to(device);
}

}  // namespace

BatchTensors to_tensors(const Batch& batch, at::Device device) {
  BatchTensors tensors;
  tensors.input.tokens = rows(batch.tokens, batch, at::kLong, device);
  tensors.input.position_ids = rows(batch.position_ids, batch, at::kLong, device);
  if (!batch.segment_ids.empty()) {
    tensors.input.segments = rows(batch.segment_ids, batch, at::kLong, device);
  }
  tensors.targets.labels = rows(batch.labels, batch, at::kLong, device);
  tensors.targets.loss_mask = rows(batch.loss_mask, batch, at::kFloat, device).t().contiguous();
  return tensors;
}

}  // namespace megalith

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

/// Places s · B + b where the loss mask is not 0; one that counts for nothing when there are none,
/// since no collective takes an empty tensor.
at::Tensor predicted_places(const Batch& batch) {
  std::vector<int64_t> places;
  for (int64_t s = 0; s < batch.seq_length; ++s) {
    for (int64_t b = 0; b < batch.batch_size; ++b) {
      const auto at = static_cast<size_t>(b * batch.seq_length + s);
      if (batch.loss_mask[at] != 0) places.push_back(s * batch.batch_size + b);
    }
  }
  if (places.empty()) places.push_back(0);
  return at::tensor(places, at::kLong);
}

/// What only BERT's samples have.
void take_bert_fields(const Batch& batch, at::Device device, BatchTensors& tensors) {
  tensors.input.token_types = rows(batch.types, batch, at::kLong, device);
  tensors.input.padding_mask = rows(batch.padding_mask, batch, at::kLong, device).to(at::kBool);
  // Found on the host: on the device it would have to wait for itself.
  tensors.targets.predicted = predicted_places(batch).to(device);
  tensors.targets.is_random = at::tensor(batch.is_random, at::kLong).to(device);
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
  if (!batch.types.empty()) take_bert_fields(batch, device, tensors);
  return tensors;
}

}  // namespace megalith

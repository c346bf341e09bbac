#include "megalith/tasks/finetune/example_batches.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "megalith/parallel/random.hpp"

namespace megalith {
namespace {

/// Rounding lengths up keeps the shapes that an allocator and kernels see few.
constexpr int64_t kLengthStep = 8;

int64_t padded_length(std::span<const TokenFeatures> rows, const Padding& padding) {
  if (padding.length > 0) return padding.length;
  size_t longest = 1;
  for (const auto& row : rows) longest = std::max(longest, row.ids.size());
  const auto steps = (static_cast<int64_t>(longest) + kLengthStep - 1) / kLengthStep;
  return std::min(steps * kLengthStep, padding.longest);
}

/// A copy that owns its memory, on the device.
template <class T>
at::Tensor as_tensor(const std::vector<T>& values, std::vector<int64_t> shape, at::ScalarType type,
                     at::Device device) {
  return at::from_blob(const_cast<T*>(values.data()), shape, at::TensorOptions(type))
      .clone()
      .to(device);
}

}  // namespace

BatchTensors example_batch(const TaskExamples& examples, std::span<const size_t> indices,
                           const Padding& padding, at::Device device) {
  std::vector<TokenFeatures> rows;
  std::vector<int64_t> labels;
  int64_t num_labelled = 0;
  for (const size_t index : indices) {
    const TaskRow row = examples.row(index);
    rows.insert(rows.end(), row.sequences.begin(), row.sequences.end());
    labels.insert(labels.end(), row.label.begin(), row.label.end());
    num_labelled += row.label.empty() ? 0 : 1;
  }
  const FeatureBatch batch = pad_features(rows, padded_length(rows, padding), padding.id);
  const std::vector<int64_t> shape{batch.num_rows, batch.length};
  BatchTensors tensors;
  tensors.input.tokens = as_tensor(batch.ids, shape, at::kLong, device);
  tensors.input.token_types = as_tensor(batch.types, shape, at::kLong, device);
  tensors.input.padding_mask = as_tensor(batch.mask, shape, at::kByte, device).to(at::kBool);
  tensors.input.position_ids =
      at::arange(batch.length, at::TensorOptions(at::kLong).device(device)).repeat({shape[0], 1});
  const auto count = static_cast<int64_t>(indices.size());
  if (num_labelled < count) return tensors;
  const auto width = static_cast<int64_t>(labels.size()) / count;
  const std::vector<int64_t> label_shape =
      width == 1 ? std::vector<int64_t>{count} : std::vector<int64_t>{count, width};
  tensors.targets.labels = as_tensor(labels, label_shape, at::kLong, device);
  return tensors;
}

const std::vector<size_t>& EpochOrder::permutation(int64_t epoch) {
  if (epoch_ == epoch) return permutation_;
  epoch_ = epoch;
  permutation_.resize(static_cast<size_t>(num_examples_));
  std::iota(permutation_.begin(), permutation_.end(), size_t{0});
  std::mt19937_64 generator(mix_key({seed_, epoch, num_examples_}));
  for (size_t i = 0; i + 1 < permutation_.size(); ++i) {
    // Not std::shuffle, whose draws each standard library makes in its own way.
    std::swap(permutation_[i], permutation_[i + generator() % (permutation_.size() - i)]);
  }
  return permutation_;
}

std::vector<size_t> EpochOrder::micro_batch(int64_t consumed, int64_t micro_batch_size,
                                            int64_t data_rank) {
  const int64_t usable = steps_per_epoch() * global_batch_;
  const auto& order = permutation(consumed / usable);
  const int64_t first = consumed % usable + data_rank * micro_batch_size;
  return {order.begin() + first, order.begin() + first + micro_batch_size};
}

void EpochOrder::check_position(int64_t consumed) const {
  if (consumed % global_batch_ == 0) return;
  throw UsageError(
      "--global-batch-size {}: the checkpoint's {} samples are no whole number of such batches; go "
      "on with the batch size it was trained with",
      global_batch_, consumed);
}

}  // namespace megalith

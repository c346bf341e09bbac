#include "megalith/data/samplers.hpp"

#include <algorithm>
#include <numeric>
#include <random>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

/// torch.randperm(size) on the CPU with the generator seeded by `seed`.
std::vector<int64_t> torch_permutation(int64_t size, int64_t seed) {
  std::mt19937 generator(static_cast<uint32_t>(seed));
  std::vector<int64_t> order(static_cast<size_t>(size));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t i = 0; i + 1 < order.size(); ++i) {
    std::swap(order[i], order[i + generator() % (order.size() - i)]);
  }
  return order;
}

}  // namespace

Sampler::Sampler(SamplerOptions options) : options_(options) {
  usable_ = options_.num_samples / step_size() * step_size();
  const bool endless = options_.kind == LoaderKind::kCyclic || options_.wrap;
  if (!endless) return;
  if (usable_ == 0) {
    throw UsageError(
        "the dataset holds {} samples, fewer than one step of {} (--micro-batch-size {} x {} "
        "replicas); use more data or a smaller step",
        options_.num_samples, step_size(), options_.micro_batch_size, options_.replica_count);
  }
  if (options_.consumed_samples % step_size() != 0) {
    throw UsageError(
        "{} consumed samples are no whole number of steps of {} (--micro-batch-size {} x {} "
        "replicas); resume with a micro-batch size and number of replicas that divide them",
        options_.consumed_samples, step_size(), options_.micro_batch_size, options_.replica_count);
  }
}

std::optional<std::vector<int64_t>> Sampler::next() {
  auto samples = options_.kind == LoaderKind::kCyclic ? next_shuffled() : next_in_order();
  if (samples) options_.consumed_samples += step_size();
  return samples;
}

std::optional<std::vector<int64_t>> Sampler::next_in_order() {
  const int64_t start =
      options_.wrap ? options_.consumed_samples % usable_ : options_.consumed_samples;
  const int64_t total = options_.num_samples;
  if (start >= total || (options_.drop_last && start + step_size() > total)) return std::nullopt;
  const int64_t first = start + options_.replica_index * options_.micro_batch_size;
  std::vector<int64_t> samples;
  for (int64_t k = first; k < std::min(first + options_.micro_batch_size, total); ++k) {
    samples.push_back(k);
  }
  return samples;
}

std::vector<int64_t> Sampler::next_shuffled() {
  const int64_t share = usable_ / options_.replica_count;
  if (shuffled_epoch_ != epoch()) {
    shuffled_epoch_ = epoch();
    const int64_t micro = options_.micro_batch_size;
    const int64_t size = options_.data_sharding ? share : options_.num_samples / micro * micro;
    order_ = torch_permutation(size, shuffled_epoch_);
  }
  const int64_t position = options_.consumed_samples % usable_;
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < options_.micro_batch_size; ++i) {
    const int64_t in_share = position / options_.replica_count + i;
    // Without shares the replicas take turns, from where the epoch stood when upstream resumes.
    const int64_t at = options_.data_sharding
                           ? in_share
                           : position + options_.replica_index + i * options_.replica_count;
    const int64_t first = options_.data_sharding ? options_.replica_index * share : 0;
    samples.push_back(first + order_[static_cast<size_t>(at)]);
  }
  return samples;
}

}  // namespace megalith

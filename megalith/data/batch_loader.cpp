#include "megalith/data/batch_loader.hpp"

#include <algorithm>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

SamplerOptions sampler_options(const Dataset& dataset, const LoaderOptions& options) {
  return {.kind = options.kind,
          .num_samples = dataset.num_samples(),
          .consumed_samples = options.consumed_samples,
          .micro_batch_size = options.micro_batch_size,
          .replica_index = options.replica_index,
          .replica_count = options.replica_count,
          .data_sharding = options.data_sharding,
          .drop_last = options.drop_last,
          .wrap = options.wrap};
}

template <class T>
void extend(std::vector<T>& all, const std::vector<T>& row) {
  all.insert(all.end(), row.begin(), row.end());
}

}  // namespace

BatchLoader::BatchLoader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options)
    : dataset_(std::move(dataset)),
      options_(options),
      sampler_(sampler_options(*dataset_, options)),
      consumed_(options.consumed_samples) {
  thread_ = std::thread([this] { prefetch_until_stopped(); });
}

BatchLoader::~BatchLoader() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Batch BatchLoader::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ready_.empty(); });
  // An error stays in the queue: the thread has ended, and every later call meets it again.
  if (ready_.front().error) std::rethrow_exception(ready_.front().error);
  Batch batch = std::move(ready_.front().batch);
  ready_.pop_front();
  lock.unlock();
  changed_.notify_all();
  consumed_ += options_.micro_batch_size * options_.replica_count;
  return batch;
}

void BatchLoader::prefetch_until_stopped() {
  const auto room = static_cast<size_t>(std::max<int64_t>(1, options_.prefetch));
  for (bool failed = false; !failed;) {
    Prepared prepared = prepare();
    failed = prepared.error != nullptr;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || ready_.size() < room; });
    if (stopping_) return;
    ready_.push_back(std::move(prepared));
    lock.unlock();
    changed_.notify_all();
  }
}

BatchLoader::Prepared BatchLoader::prepare() {
  Prepared prepared;
  try {
    const auto numbers = sampler_.next();
    if (!numbers) {
      throw RunError(
          "the {} data are used up: after {} samples fewer than a step of {} are left of {}; ask "
          "for fewer iterations or give more data",
          options_.name, sampler_.consumed_samples(), sampler_.step_size(),
          dataset_->num_samples());
    }
    for (const int64_t number : *numbers) append(prepared.batch, number);
  } catch (...) {
    prepared.error = std::current_exception();
  }
  return prepared;
}

void BatchLoader::append(Batch& batch, int64_t sample_number) const {
  const Sample sample = dataset_->sample(sample_number);
  if (options_.vocab_size > 0) {
    const auto unknown = [this](int64_t id) { return id < 0 || id >= options_.vocab_size; };
    const auto size = static_cast<int64_t>(sample.tokens.size());
    for (int64_t i = 0; i < size; ++i) {
      const auto at = static_cast<size_t>(i);
      if (unknown(sample.tokens[at])) refuse_token(sample_number, i, sample.tokens[at]);
      if (sample.labels[at] != kIgnoredLabel && unknown(sample.labels[at]))
        refuse_token(sample_number, i + 1, sample.labels[at]);
    }
  }
  ++batch.batch_size;
  batch.seq_length = static_cast<int64_t>(sample.tokens.size());
  batch.sample_numbers.push_back(sample_number);
  extend(batch.tokens, sample.tokens);
  extend(batch.labels, sample.labels);
  extend(batch.position_ids, sample.position_ids);
  extend(batch.loss_mask, sample.loss_mask);
  extend(batch.segment_ids, sample.segment_ids);
  extend(batch.types, sample.types);
  extend(batch.padding_mask, sample.padding_mask);
  if (sample.is_random) batch.is_random.push_back(*sample.is_random);
}

void BatchLoader::refuse_token(int64_t sample_number, int64_t position, int64_t id) const {
  throw UsageError(
      "{} is id {}, but the vocabulary has {} entries ({} sample {}); were the data made with "
      "another tokenizer? megalith data verify finds every such id",
      dataset_->place(sample_number, position), id, options_.vocab_size, options_.name,
      sample_number);
}

}  // namespace megalith

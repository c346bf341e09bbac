// Micro-batches for one replica, read ahead by a thread of its own.
//
// samplers.hpp decides which samples; this file gathers them, checks that the vocabulary has every
// id, and keeps a few ready. Promise: the n-th batch depends only on the options, never on timing;
// all ranks of a tensor group that are given the same options see the same batches. The thread ends
// with the object.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "megalith/data/dataset.hpp"
#include "megalith/data/samplers.hpp"

namespace megalith {

/// One micro-batch. Every array is [batch_size, seq_length], row by row, unless it says otherwise.
struct Batch {
  int64_t batch_size = 0, seq_length = 0;
  std::vector<int64_t> tokens, labels, position_ids;
  std::vector<float> loss_mask;
  std::vector<int64_t> segment_ids;          // empty where attention may reach everything before
  std::vector<int64_t> types, padding_mask;  // BERT's, else empty
  std::vector<int64_t> is_random;            // [batch_size], BERT's, else empty
  std::vector<int64_t> sample_numbers;       // [batch_size], in the dataset
};

struct LoaderOptions {
  std::string name = "training";  // the dataset's part in the run, for messages
  LoaderKind kind = LoaderKind::kSingle;
  int64_t consumed_samples = 0;  // by all replicas, over the whole run
  int64_t micro_batch_size = 1;
  int64_t replica_index = 0;
  int64_t replica_count = 1;
  bool data_sharding = true;
  bool drop_last = true;
  bool wrap = false;       // start over at the end, as evaluation does
  int64_t vocab_size = 0;  // ids must be below; 0 checks nothing
  int64_t prefetch = 4;    // micro-batches kept ready
};

class BatchLoader {
 public:
  BatchLoader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options);
  ~BatchLoader();
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;

  /// The next micro-batch; waits for it. Throws RunError when the dataset is used up, UsageError
  /// naming document and offset for an id that the vocabulary does not have, and whatever reading
  /// threw; then again at every later call.
  Batch next();

  /// Samples that all replicas have consumed after the batches handed out so far. A loader made
  /// with this count goes on with the same batches.
  int64_t consumed_samples() const { return consumed_; }

 private:
  struct Prepared {
    Batch batch;
    std::exception_ptr error;
  };
  void prefetch_until_stopped();
  Prepared prepare();
  void append(Batch& batch, int64_t sample_number) const;
  [[noreturn]] void refuse_token(int64_t sample_number, int64_t position, int64_t id) const;

  const std::shared_ptr<const Dataset> dataset_;
  const LoaderOptions options_;
  Sampler sampler_;       // the thread's
  int64_t consumed_ = 0;  // the caller's

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Prepared> ready_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace megalith

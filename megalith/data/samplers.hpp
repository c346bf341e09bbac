// Which samples a data-parallel replica gets, micro-batch by micro-batch.
//
// Two kinds, as --dataloader-type: `single` goes through the dataset in order (whose own order is
// already shuffled), `cyclic` shuffles each epoch anew, by the epoch's number alone. Promise: what
// comes next depends only on the options and on the number of samples that all replicas together
// have consumed, so a resumed run continues exactly, and the replicas' shares of a step are
// disjoint.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace megalith {

enum class LoaderKind { kSingle, kCyclic };

struct SamplerOptions {
  LoaderKind kind = LoaderKind::kSingle;
  int64_t num_samples = 0;       // of the dataset
  int64_t consumed_samples = 0;  // by all replicas, over the whole run
  int64_t micro_batch_size = 1;
  int64_t replica_index = 0;
  int64_t replica_count = 1;
  bool data_sharding = true;  // cyclic: each replica keeps to a share of the dataset of its own
  bool drop_last = true;      // single: leave out a last, smaller step
  bool wrap = false;          // single: start over at the end, as evaluation does
};

class Sampler {
 public:
  /// Throws UsageError when the dataset is too small for one step of all replicas, or when the
  /// consumed samples are no whole number of steps and the kind needs that.
  explicit Sampler(SamplerOptions options);

  /// Sample numbers of this replica's next micro-batch; nothing at the end (single without wrap).
  /// Without drop_last the last one may be smaller, or empty.
  std::optional<std::vector<int64_t>> next();

  /// Samples consumed by all replicas after the micro-batches handed out so far.
  int64_t consumed_samples() const { return options_.consumed_samples; }
  /// Samples of one step: micro-batch size x replicas.
  int64_t step_size() const { return options_.micro_batch_size * options_.replica_count; }
  /// Whole passes before the next micro-batch (cyclic).
  int64_t epoch() const { return options_.consumed_samples / usable_; }

 private:
  std::optional<std::vector<int64_t>> next_in_order();
  std::vector<int64_t> next_shuffled();

  SamplerOptions options_;
  int64_t usable_ = 0;  // samples in whole steps
  int64_t shuffled_epoch_ = -1;
  std::vector<int64_t> order_;  // this epoch's permutation
};

}  // namespace megalith

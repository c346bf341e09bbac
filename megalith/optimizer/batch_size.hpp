// How many samples an iteration takes, and in how many micro-batches, as a function of the samples
// consumed so far: constant, or growing linearly in equal jumps (--rampup-batch-size).
//
// Plain integers without state, so a resume at any count of consumed samples continues exactly.
// Which samples they are is the loader's business. Equal to Megatron-LM core 0.17.1.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "megalith/core/fields.hpp"

namespace megalith {

struct BatchSizeConfig {
  std::optional<int64_t> micro_batch_size;
  std::optional<int64_t> global_batch_size;
  std::vector<int64_t> rampup_batch_size;  // empty, or start, increment, samples
  bool decrease_batch_size_if_needed = false;

  FieldList fields();
  /// The final global batch size: the flag, or one micro-batch on each of `data_size` ranks.
  int64_t resolved_global_batch_size(int64_t data_size) const;
  /// Reports what does not divide. `by_iterations` is whether the run is told by --train-iters.
  void check(int64_t data_size, bool by_iterations, Problems& problems) const;
};

class BatchSizeSchedule {
 public:
  /// `data_size` is the number of data-parallel ranks. Throws UsageError on what check() reports.
  BatchSizeSchedule(const BatchSizeConfig& config, int64_t data_size);

  /// Samples that the iteration which starts after `consumed` samples takes, over all ranks.
  int64_t global_batch(int64_t consumed) const;
  /// Micro-batches each rank runs in that iteration.
  int64_t num_micro_batches(int64_t consumed) const;
  /// The size asked for; larger than global_batch() only with --decrease-batch-size-if-needed.
  int64_t scheduled_global_batch(int64_t consumed) const;
  /// Whole iterations that fit into `samples` samples counted from the start of a run.
  int64_t num_iterations(int64_t samples) const;

  int64_t micro_batch_size() const { return micro_batch_size_; }
  int64_t final_global_batch() const { return global_batch(ramp_samples_ + 1); }

 private:
  int64_t micro_batch_size_;
  int64_t samples_per_micro_batch_;  // over all ranks
  int64_t final_batch_;
  int64_t start_batch_;
  int64_t increment_ = 0;
  int64_t ramp_samples_ = -1;  // -1: constant
};

}  // namespace megalith

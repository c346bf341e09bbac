// What a run says: log lines in upstream's format, a progress line on a terminal, metrics as JSON
// lines.
//
// Only watches: nothing here changes a result. Written by world rank 0; the other ranks hold a
// silent one. Times are wall clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <cmath>
#include <string>
#include <vector>

namespace megalith {

/// A part of the loss by its name in the log: "lm loss".
struct NamedLoss {
  std::string name;
  double value = 0;
};

/// What a validation or a test found: losses, told with their perplexities, or a task's scores.
struct Evaluation {
  std::vector<NamedLoss> losses = {};
  std::vector<NamedLoss> scores = {};
};

/// One iteration as the trainer saw it.
struct IterationRecord {
  int64_t iteration = 0, total_iterations = 0;
  int64_t consumed_samples = 0;
  int64_t global_batch = 0;
  double learning_rate = 0;
  std::vector<NamedLoss> losses;  // means over the global batch
  double loss_scale = 1;
  double gradient_norm = 0;
  std::optional<double> parameter_norm;
  bool skipped = false;
  bool nan = false;
  double seconds = 0;
  int64_t tokens = 0;      // of the global batch
  double model_flops = 0;  // of the whole step over all ranks
};

struct MetricsOptions {
  bool silent = false;  // not world rank 0
  int64_t world_size = 1;
  int64_t log_interval = 100;
  bool log_throughput = false;
  std::string file;  // empty: none
  // What a resumed run writes again is dropped from an existing file: lines of later iterations,
  // validations after the last one that counts, the test of the iteration where it goes on.
  int64_t keep_up_to = 0, keep_validations_up_to = 0;
};

/// NaN has no sign worth printing.
inline double without_sign(double value) { return std::isnan(value) ? std::abs(value) : value; }

class Metrics {
 public:
  /// Throws UsageError when the file cannot be written.
  explicit Metrics(const MetricsOptions& options);
  ~Metrics();

  void say(const std::string& line);
  void record(const IterationRecord& record);
  /// `set` is "validation" or "test".
  void evaluation(const std::string& set, int64_t iteration, const Evaluation& evaluation);

 private:
  void log_line(const IterationRecord& record);
  void progress_line(const IterationRecord& record);
  void clear_progress();
  void write_json(const std::string& line);

  MetricsOptions options_;
  FILE* file_ = nullptr;
  bool terminal_ = false, progress_shown_ = false;
  bool write_failed_ = false;
  // sums since the last log line
  double seconds_ = 0, flops_ = 0;
  std::vector<double> losses_, skipped_losses_;  // part by part
  int64_t steps_ = 0, loss_steps_ = 0, skipped_ = 0, nan_ = 0;
  double smoothed_seconds_ = 0;
};

/// "1h 02m", "3m 05s", "12s"
std::string duration_text(double seconds);

}  // namespace megalith

// A fine-tuning run between its flags and the trainer: the checkpoint it starts from, the examples,
// the model's head, the length of the run, the runs of several seeds.
//
// Every mistake goes to one list, before a device is touched.
#pragma once

#include <atomic>
#include <functional>

#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/tasks/finetune/finetune_task.hpp"
#include "megalith/training/run_config.hpp"

namespace megalith::cli {

class FinetuneRun {
 public:
  /// `config` and `task` as the flags say; both must outlive this.
  FinetuneRun(RunConfig& config, TaskConfig& task) : config_(config), task_(task) {}

  /// Opens what the run starts from, takes model and tokenizer from it where `given` knows no flag,
  /// reads the examples, completes and checks the configuration.
  void prepare(const std::function<bool(const std::string&)>& given,
               const LaunchEnvironment& environment, Problems& problems);
  /// What there is to say about the data, a line each.
  std::vector<std::string> notes() const;
  /// What is planned for --dry-run.
  PlanRequest plan(const LaunchEnvironment& environment) const;
  /// How many examples each file set has: the same on every rank.
  std::string sizes() const;

  /// Trains once for each seed and reports the median. Communicates: world, every rank must call.
  void run(Distributed& distributed, const std::atomic<bool>& stop) const;

 private:
  std::optional<Checkpoint> open_start(Problems& problems);
  void read_examples(const Tokenizer& tokenizer, Problems& problems);
  void set_length(const LaunchEnvironment& environment, Problems& problems);
  void review(const Checkpoint& start, const LaunchEnvironment& environment, Problems& problems);
  RunConfig config_of(int64_t seed) const;

  RunConfig& config_;
  TaskConfig& task_;
  FinetuneData data_;
};

}  // namespace megalith::cli

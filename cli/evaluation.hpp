// What the tasks of `megalith evaluate` that run a model share: flags, opening the model, ranks,
// progress, the report.
//
// A task adds its own flags, reads its data into problems() beside the model's, raises them all at
// once, and then runs its body on every rank.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/progress_line.hpp"
#include "cli/trained_model.hpp"
#include "megalith/tasks/report.hpp"
#include "megalith/tasks/scoring.hpp"

namespace megalith::cli {

class Evaluation {
 public:
  /// `task` is the name after "megalith evaluate"; `data_help` says what --data is.
  Evaluation(const std::string& task, const std::string& summary, const std::string& data_help);

  /// Adds the task's own flags, its upstream flags and examples.
  void add_flags(const FieldList& fields, const std::vector<ForeignFlag>& foreign,
                 const std::string& epilogue);
  /// False when --help was asked for. Mistakes are in problems().
  bool parse(const Words& words);
  /// Adds what stands in the way of an output file of the flag.
  void check_output(const char* flag, const std::optional<std::string>& path);
  /// Opens checkpoint and tokenizer, checks the window; what is wrong is in problems().
  void open_model();

  Problems& problems() { return problems_; }
  const std::string& data() const { return *data_; }
  bool has_data() const { return data_.has_value(); }
  bool has_model() const { return model_.has_value(); }
  const Tokenizer& tokenizer() const { return *model_->tokenizer; }
  const ModelConfig& model_config() const { return model_->config; }
  /// Inputs of a window: --seq-length, else what the model was trained on.
  int64_t window() const { return window_; }

  using Body =
      std::function<void(const GptModel&, const ProcessGroups&, const ScoringOptions&, Report&)>;
  /// Joins the ranks, loads the weights, runs the body on each, shows and writes the report.
  /// `inputs` must be the same on every rank.
  void run(const std::string& inputs, const Body& body);

 private:
  void check_window();

  std::string task_;
  CommandLine command_;
  TrainedModelFlags model_flags_;
  TokenizerConfig tokenizer_flags_;
  DistributedConfig distributed_flags_;
  std::optional<std::string> data_, report_;
  std::optional<int64_t> seq_length_;
  int64_t micro_batch_size_ = 8;
  LaunchEnvironment environment_;
  Problems problems_;
  std::optional<TrainedModel> model_;
  int64_t window_ = 0;
};

}  // namespace megalith::cli

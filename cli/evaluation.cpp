#include "cli/evaluation.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/process_settings.hpp"
#include "megalith/core/output_path.hpp"

namespace megalith::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// What the checkpoint was trained on, if it says so.
std::optional<int64_t> trained_length(const Checkpoint& checkpoint) {
  const auto& meta = checkpoint.meta();
  const auto found = nlohmann::json::json_pointer("/configuration/Training/seq-length");
  if (!meta.contains(found) || !meta.at(found).is_number_integer()) return std::nullopt;
  return meta.at(found).get<int64_t>();
}

}  // namespace

Evaluation::Evaluation(const std::string& task, const std::string& summary,
                       const std::string& data_help)
    : task_(task), command_("megalith evaluate " + task, summary) {
  command_.section("Model", model_flags_.fields());
  command_.section(
      "Evaluation",
      {{"data", &data_, data_help},
       {"seq-length", &seq_length_, "Inputs of a window.", between(1, kLongestSequence),
        "the checkpoint's"},
       {"micro-batch-size", &micro_batch_size_,
        "Rows that go through the model together on each data rank.", at_least(1)},
       {"report", &report_, "Write the results here as JSON as well; replaces a file."}});
}

void Evaluation::add_flags(const FieldList& fields, const std::vector<ForeignFlag>& foreign,
                           const std::string& epilogue) {
  if (!fields.empty()) command_.section("Task", fields);
  command_.section("Tokenizer (default: the checkpoint's)", tokenizer_flags_.fields());
  command_.section("Parallelism", distributed_flags_.fields());
  command_.foreign(model_shape_flags());
  command_.foreign({{"valid-data", ForeignFlag::Kind::kOldSpelling, "data", 1}});
  command_.foreign(foreign);
  command_.run_file();
  command_.epilogue(epilogue);
}

bool Evaluation::parse(const Words& words) {
  environment_ = read_launch_environment();
  if (!command_.parse(words, problems_, environment_.rank == 0)) return false;
  model_flags_.check(problems_);
  distributed_flags_.check(environment_, problems_);
  if (!data_) problems_.add_missing("data", "give the file to evaluate on");
  check_output("report", report_);
  return true;
}

void Evaluation::check_output(const char* flag, const std::optional<std::string>& path) {
  // Written by rank 0 alone, whose host may see other folders.
  if (environment_.rank != 0 && environment_.local_world_size != environment_.world_size) return;
  if (!path) return;
  if (const auto why = why_no_file(*path)) {
    problems_.add("--{} {} cannot be written: {}", flag, *path, *why);
  }
}

void Evaluation::open_model() {
  if (!model_flags_.load) return;
  problems_.collect([&] {
    model_ = open_trained_model(model_flags_, tokenizer_flags_,
                                distributed_flags_.tensor_model_parallel_size, problems_);
    check_window();
  });
}

void Evaluation::check_window() {
  const int64_t positions = model_->config.max_position_embeddings;
  window_ = seq_length_.value_or(trained_length(model_->checkpoint).value_or(positions));
  if (window_ <= positions) return;
  problems_.add(
      "--seq-length {} is longer than the {} positions of the model of {}; give at most {}",
      window_, positions, model_->checkpoint.folder(), positions);
}

void Evaluation::run(const std::string& inputs, const Body& body) {
  use_batch_scheduling();
  keep_freed_memory();
  Distributed distributed(distributed_flags_, environment_);
  distributed.require_same("what to evaluate",
                           fmt::format("{} {} {} {} {}", task_, model_->comparable(), window_,
                                       micro_batch_size_, inputs));
  distributed.run([&] {
    const bool is_first = environment_.rank == 0;
    const GptModel model = model_->load(distributed);
    Report report(task_);
    report.add("data", *data_, "");
    report.add("checkpoint", model_->checkpoint.folder(), "");
    report.add("seq_length", window_, "inputs of a window");
    const auto start = Clock::now();
    {
      RowProgress progress("evaluated", "rows", !is_first);
      body(model, distributed.groups(),
           {.micro_batch_size = micro_batch_size_,
            .on_progress = [&](int64_t done, int64_t all) { progress.tell(done, all); }},
           report);
    }
    report.add("seconds", seconds_since(start), "of evaluation, without the start");
    if (!is_first) return;
    fmt::print("{}", report.text());
    if (report_) report.write(*report_);
  });
}

}  // namespace megalith::cli

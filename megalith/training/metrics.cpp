#include "megalith/training/metrics.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

/// NaN and infinity as the words JSON readers accept as strings; JSON has no number for them.
nlohmann::json number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}

/// "lm loss" -> "lm_loss"
std::string json_key(std::string name) {
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

void add_to(std::vector<double>& sums, const std::vector<NamedLoss>& losses) {
  sums.resize(losses.size());
  for (size_t i = 0; i < losses.size(); ++i) sums[i] += losses[i].value;
}

std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  const std::time_t time = std::chrono::system_clock::to_time_t(seconds);
  std::tm parts{};
  ::localtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return fmt::format("{}.{:06d}", text, (now - seconds) / std::chrono::microseconds(1));
}

/// Drops what the run will write again, and a torn last line.
void truncate_metrics(const MetricsOptions& options) {
  std::ifstream in(options.file);
  if (!in) return;
  std::string kept, line;
  while (std::getline(in, line)) {
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (object.is_discarded() || !object.is_object()) continue;
    int64_t last = options.keep_up_to;
    if (object.contains("validation_loss")) last = options.keep_validations_up_to;
    if (object.contains("test_loss")) last = options.keep_up_to - 1;
    if (object.value("iteration", int64_t{0}) <= last) kept += line + "\n";
  }
  in.close();
  write_text_file(options.file, kept);
}

}  // namespace

std::string duration_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::max(0.0, std::round(seconds)));
  if (whole >= 3600) return fmt::format("{}h {:02d}m", whole / 3600, whole / 60 % 60);
  if (whole >= 60) return fmt::format("{}m {:02d}s", whole / 60, whole % 60);
  return fmt::format("{}s", whole);
}

Metrics::Metrics(const MetricsOptions& options) : options_(options) {
  if (options_.silent) return;
  terminal_ = ::isatty(STDOUT_FILENO) == 1;
  if (options_.file.empty()) return;
  truncate_metrics(options_);
  file_ = std::fopen(options_.file.c_str(), "a");
  if (file_ == nullptr) {
    throw UsageError("--metrics-file: {}", system_error_text(options_.file, "write"));
  }
}

Metrics::~Metrics() {
  if (progress_shown_) fmt::print("\n");
  if (file_ != nullptr) std::fclose(file_);
}

void Metrics::say(const std::string& line) {
  if (options_.silent) return;
  clear_progress();
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

void Metrics::write_json(const std::string& line) {
  if (file_ == nullptr) return;
  // A full disk costs lines here, not the run: whether it may go on is for the saves to say.
  const std::string text = line + "\n";
  const bool failed = std::fwrite(text.data(), 1, text.size(), file_) != text.size();
  if ((std::fflush(file_) != 0 || failed) && !write_failed_) {
    write_failed_ = true;
    say(fmt::format("warning: {}; lines will be missing",
                    system_error_text(options_.file, "write")));
  }
  std::clearerr(file_);
}

void Metrics::record(const IterationRecord& record) {
  if (options_.silent) return;
  seconds_ += record.seconds;
  flops_ += record.model_flops;
  ++steps_;
  skipped_ += record.skipped ? 1 : 0;
  nan_ += record.nan ? 1 : 0;
  if (!record.skipped || record.nan) {
    add_to(losses_, record.losses);
    ++loss_steps_;
  } else {
    add_to(skipped_losses_, record.losses);
  }
  smoothed_seconds_ =
      smoothed_seconds_ == 0 ? record.seconds : 0.9 * smoothed_seconds_ + 0.1 * record.seconds;
  nlohmann::ordered_json line;
  line["iteration"] = record.iteration;
  line["consumed_samples"] = record.consumed_samples;
  for (const auto& [name, value] : record.losses) line[json_key(name)] = number(value);
  line["learning_rate"] = record.learning_rate;
  line["global_batch_size"] = record.global_batch;
  line["loss_scale"] = record.loss_scale;
  line["grad_norm"] = number(record.gradient_norm);
  if (record.parameter_norm) line["params_norm"] = number(*record.parameter_norm);
  line["skipped"] = record.skipped;
  line["seconds"] = record.seconds;
  line["tokens_per_second"] = static_cast<double>(record.tokens) / record.seconds;
  line["model_flops_per_second"] = record.model_flops / record.seconds;
  write_json(line.dump());
  if (record.iteration % options_.log_interval == 0) log_line(record);
  if (terminal_) progress_line(record);
}

void Metrics::log_line(const IterationRecord& record) {
  std::string line = fmt::format(
      " [{}] iteration {:8d}/{:8d} | consumed samples: {:12d} | elapsed time per iteration (ms): "
      "{:.1f} |",
      timestamp(), record.iteration, record.total_iterations, record.consumed_samples,
      1e3 * seconds_ / static_cast<double>(steps_));
  if (options_.log_throughput) {
    line += fmt::format(" throughput per GPU (TFLOP/s/GPU): {:.1f} |",
                        flops_ / seconds_ / 1e12 / static_cast<double>(options_.world_size));
  }
  line += fmt::format(" learning rate: {:.6E} | global batch size: {:5d} |", record.learning_rate,
                      record.global_batch);
  // Where every step was skipped, what they would have learned from still tells how things stand.
  const auto& sums = loss_steps_ > 0 ? losses_ : skipped_losses_;
  const auto steps = static_cast<double>(loss_steps_ > 0 ? loss_steps_ : steps_);
  for (size_t i = 0; i < record.losses.size(); ++i) {
    line += fmt::format(" {}: {:.6E} |", record.losses[i].name, without_sign(sums[i] / steps));
  }
  line += fmt::format(" loss scale: {:.1f} | grad norm: {:.3f} |", record.loss_scale,
                      without_sign(record.gradient_norm));
  if (record.parameter_norm) line += fmt::format(" params norm: {:.3f} |", *record.parameter_norm);
  line += fmt::format(" number of skipped iterations: {:3d} | number of nan iterations: {:3d} |",
                      skipped_, nan_);
  say(line);
  seconds_ = flops_ = 0;
  losses_.clear();
  skipped_losses_.clear();
  steps_ = loss_steps_ = skipped_ = nan_ = 0;
}

void Metrics::progress_line(const IterationRecord& record) {
  const double left =
      smoothed_seconds_ * static_cast<double>(record.total_iterations - record.iteration);
  fmt::print("\r\033[K{}/{} | loss {:.3f} | {:.0f} tokens/s | {} left", record.iteration,
             record.total_iterations, without_sign(record.losses.front().value),
             static_cast<double>(record.tokens) / smoothed_seconds_, duration_text(left));
  std::fflush(stdout);
  progress_shown_ = true;
}

void Metrics::clear_progress() {
  if (progress_shown_) fmt::print("\r\033[K");
  progress_shown_ = false;
}

void Metrics::evaluation(const std::string& set, int64_t iteration, const Evaluation& evaluation) {
  if (options_.silent) return;
  const auto perplexity = [](double loss) { return std::exp(std::min(20.0, loss)); };
  const auto& [losses, scores] = evaluation;
  std::string line =
      fmt::format(" {}{} at iteration {} | ", set, losses.empty() ? "" : " loss", iteration);
  nlohmann::ordered_json object;
  object["iteration"] = iteration;
  for (const auto& [name, value] : losses) {
    line += fmt::format("{0} value: {1:.6E} | {0} PPL: {2:.6E} | ", name, value, perplexity(value));
    const bool is_first = &name == &losses.front().name;
    object[set + "_" + (is_first ? "loss" : json_key(name))] = number(value);
    if (is_first) object[set + "_perplexity"] = number(perplexity(value));
  }
  for (const auto& [name, value] : scores) {
    line += fmt::format("{}: {:.6g} | ", name, value);
    object[set + "_" + json_key(name)] = number(value);
  }
  const std::string rule(line.size() + 1, '-');
  say(rule);
  say(line);
  say(rule);
  write_json(object.dump());
}

}  // namespace megalith

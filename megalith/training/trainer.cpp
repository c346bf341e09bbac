#include "megalith/training/trainer.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/checkpoint/model_io.hpp"
#include "megalith/checkpoint/save_folder.hpp"
#include "megalith/parallel/collectives.hpp"
#include "megalith/pipeline/schedule.hpp"
#include "megalith/training/loss_sums.hpp"

namespace megalith {

Trainer::Trainer(RunConfig config, TrainingTask& task, Distributed& distributed,
                 const std::atomic<bool>& stop_signal)
    : config_(std::move(config)),
      task_(task),
      distributed_(distributed),
      groups_(distributed.groups()),
      stop_signal_(stop_signal),
      tokenizer_(make_tokenizer(config_.tokenizer)),
      loss_scaler_(config_.loss_scale, config_.training.fp16),
      recompute_plan_(config_.training.recompute_plan()),
      started_(std::chrono::steady_clock::now()) {
  const int64_t data_size = groups_.data().size();
  config_.model.vocab_size = tokenizer_->vocab_size();
  total_iterations_ = config_.train_iterations(data_size);
  batch_schedule_ = std::make_unique<BatchSizeSchedule>(config_.batch, data_size);
  Problems problems;
  const TrainingLength length{config_.training.train_iters, config_.training.train_samples,
                              batch_schedule_->final_global_batch()};
  schedule_ = std::make_unique<ParameterSchedule>(
      resolve_parameter_schedule(config_.learning_rate, length, problems));
  problems.raise_if_any();
  if (config_.checkpoint.save) {
    save_folder_ =
        std::make_unique<SaveFolder>(*config_.checkpoint.save, groups_, distributed_.device());
  }
  groups_.calls().set_phase("finding the checkpoint");
  find_checkpoint();
  groups_.calls().set_phase("opening the data");
  task_.open({config_, distributed_, *tokenizer_, *batch_schedule_, total_iterations_});

  groups_.calls().set_phase("building the model");
  const bool is_loaded_whole =
      checkpoint_ && match_heads(*checkpoint_, config_.model).drawn.empty();
  model_ =
      make_model(config_.model, groups_, config_.training.compute_type(), distributed_.device(),
                 is_loaded_whole ? std::nullopt : std::optional(config_.training.seed));
  const int64_t bucket = config_.training.ddp_bucket_size.value_or(
      std::max<int64_t>(40'000'000, 1'000'000 * data_size));
  gradients_ = std::make_unique<GradientBuffer>(model_->parameters(), groups_.data(),
                                                groups_.tensor(), bucket);
  optimizer_ = std::make_unique<Optimizer>(model_->parameters(), *gradients_, config_.optimizer,
                                           groups_.model(), groups_.tensor().rank == 0);
  resume();

  open_metrics();
  announce();
}

Trainer::~Trainer() = default;

void Trainer::announce() {
  const auto& layout = groups_.layout();
  const int64_t padded = config_.model.padded_vocab_size(layout.tensor);
  metrics_->say(fmt::format(
      "megalith: {} parameters ({} with the vocabulary padded to {}), {} rank(s) = tensor {} x "
      "data {}, "
      "{} on {}, {} thread(s) each",
      config_.model.num_parameters(config_.model.vocab_size), config_.model.num_parameters(padded),
      padded, layout.world_size(), layout.tensor, layout.data, c10::toString(model_->dtype()),
      distributed_.device().str(), distributed_.num_threads()));
  RunConfig shown = config_;
  shown.batch.global_batch_size = batch_schedule_->final_global_batch();
  for (auto& [title, fields] : shown.sections()) {
    if (title.starts_with("Loss scale") && !config_.training.fp16) continue;
    std::string line;
    for (const auto& field : fields) {
      const auto words = field_words(field);
      if (!words || (words->size() == 1 && words->front() == "false")) continue;
      if (words->empty()) continue;
      line += fmt::format("{}{} {}", line.empty() ? "" : ", ", field.name, fmt::join(*words, " "));
    }
    if (!line.empty()) metrics_->say(fmt::format("  {}: {}", title, line));
  }
  if (save_folder_) {
    for (const auto& notice : save_folder_->notices()) metrics_->say("notice: " + notice);
    const auto there = complete_iterations(save_folder_->path());
    if (progress_.iteration == 0 && !there.empty()) {
      metrics_->say(fmt::format(
          "notice: {} holds checkpoints of iterations {}, which this run does not go on "
          "from but replaces when it comes to them; --load would go on",
          save_folder_->path(), fmt::join(there, ", ")));
    }
  }
  if (!start_line_.empty()) metrics_->say(start_line_);
}

void Trainer::run() {
  bool stopped = false;
  const auto& eval_interval = config_.logging.eval_interval;
  if (!config_.training.skip_train && progress_.iteration < total_iterations_) {
    // A run that was stopped where a validation was due left it to this one.
    if (progress_.iteration > progress_.validated_iteration &&
        progress_.iteration % eval_interval == 0) {
      validate();
    }
    next_batch_ = task_.training_batches(progress_.consumed_samples);
    while (!stopped && progress_.iteration < total_iterations_) {
      stopped = train_step();
      const int64_t iteration = progress_.iteration;
      if (!stopped && iteration % eval_interval == 0) validate();
      const auto& interval = config_.checkpoint.save_interval;
      if (interval && iteration % *interval == 0) save(/*is_last=*/false);
    }
    next_batch_ = nullptr;
  }
  if (config_.checkpoint.save && !config_.training.skip_train) save(/*is_last=*/true);
  if (stopped && progress_.iteration < total_iterations_) {
    metrics_->say(fmt::format("stopped at iteration {}", progress_.iteration));
    return;
  }
  const bool is_validated =
      !config_.training.skip_train && progress_.validated_iteration == progress_.iteration;
  if (!is_validated) validate();
  groups_.calls().set_phase("test");
  if (const auto test = task_.finish(*model_, progress_.iteration)) {
    metrics_->evaluation("test", progress_.iteration, *test);
  }
}

Trainer::BatchSums Trainer::forward_backward(int64_t num_micro_batches, double loss_scale) {
  at::Tensor sums;
  int64_t positions = 0, sequences = 0;
  const double share = loss_scale / static_cast<double>(num_micro_batches * groups_.data().size());
  at::Tensor loss;
  const auto note_phase = [&](int64_t micro_batch, const char* direction) {
    groups_.calls().set_phase(fmt::format("iteration {}, micro-batch {}, {}",
                                          progress_.iteration + 1, micro_batch, direction));
  };
  const StageActions actions{
      .forward =
          [&](int64_t micro_batch) {
            note_phase(micro_batch, "forward");
            const BatchTensors batch = next_batch_();
            positions += batch.input.tokens.numel();
            sequences += batch.input.tokens.size(0);
            LayerContext context;
            context.training = true;
            context.key = {config_.training.seed, progress_.iteration, micro_batch,
                           groups_.data().rank, groups_.tensor().rank};
            const auto parts = model_->losses(batch.input, batch.targets, context, recompute_plan_);
            loss = total_loss(parts) * share;
            sums = sums.defined() ? sums + loss_rows(parts) : loss_rows(parts);
          },
      .backward =
          [&](int64_t micro_batch) {
            note_phase(micro_batch, "backward");
            if (micro_batch + 1 == num_micro_batches) gradients_->reduce_during_next_backward();
            torch::autograd::backward({loss}, {});
            loss.reset();
          }};
  execute(single_stage_schedule(num_micro_batches), actions);
  gradients_->finish_reduction();
  return {sums, positions, sequences};
}

bool Trainer::train_step() {
  const auto begin = std::chrono::steady_clock::now();
  const int64_t consumed = progress_.consumed_samples;
  const int64_t num_micro_batches = batch_schedule_->num_micro_batches(consumed);
  IterationRecord record;
  record.global_batch = batch_schedule_->global_batch(consumed);
  record.learning_rate = schedule_->learning_rate(progress_.schedule_samples);
  record.loss_scale = loss_scaler_.scale();

  gradients_->zero();
  const auto [sums, positions, sequences] = forward_backward(num_micro_batches, record.loss_scale);
  groups_.calls().set_phase(fmt::format("iteration {}, optimizer step", progress_.iteration + 1));
  const Optimizer::Result result = optimizer_->step(
      record.learning_rate, schedule_->weight_decay(progress_.schedule_samples), record.loss_scale);
  loss_scaler_.update(!result.updated);
  // ---------------------------------------------------------------- below here nothing trains
  progress_.iteration += 1;
  progress_.consumed_samples += record.global_batch;
  if (result.updated) progress_.schedule_samples += record.global_batch;
  if (!result.updated) progress_.skipped_iterations += 1;

  const std::chrono::duration<double> running = std::chrono::steady_clock::now() - started_;
  const auto& limit = config_.training.exit_duration_minutes;
  const bool my_stop = stop_signal_ || (limit && running.count() > *limit * 60);
  // One sum over the world carries loss and tokens (each tensor group once) and the wish to stop.
  const double counted = groups_.tensor().rank == 0 ? 1.0 : 0.0;
  const at::Tensor mine =
      at::tensor({static_cast<double>(positions) * counted,
                  static_cast<double>(sequences) * counted, my_stop ? 1.0 : 0.0});
  at::Tensor shared = at::cat({sums.flatten() * counted, mine.to(sums.options())});
  groups_.calls().set_phase(fmt::format("iteration {}, sharing the loss", progress_.iteration));
  all_reduce(shared, groups_.world());
  shared = shared.cpu();
  record.losses = mean_losses(*model_, shared.narrow(0, 0, sums.numel()).view_as(sums));
  record.iteration = progress_.iteration;
  record.total_iterations = total_iterations_;
  record.consumed_samples = progress_.consumed_samples;
  record.gradient_norm = result.gradient_norm;
  record.skipped = !result.updated;
  record.nan = std::any_of(record.losses.begin(), record.losses.end(),
                           [](const NamedLoss& loss) { return !std::isfinite(loss.value); });
  record.tokens = shared[-3].item().toLong();
  const int64_t all_sequences = shared[-2].item().toLong();
  record.model_flops =
      model_->flops(all_sequences, record.tokens / all_sequences, shared[1].item<double>());
  if (config_.logging.log_params_norm) record.parameter_norm = optimizer_->parameter_norm();
  record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  metrics_->record(record);
  if (record.skipped) check_finite(record, result.first_bad_parameter);
  const auto& interval = config_.training.exit_interval;
  return shared[-1].item<double>() > 0 || (interval && progress_.iteration % *interval == 0);
}

void Trainer::check_finite(const IterationRecord& record, const std::string& bad_parameter) const {
  std::string losses;
  for (const auto& [name, value] : record.losses) {
    losses += fmt::format("{} {:.6g}, ", name, without_sign(value));
  }
  const std::string text =
      fmt::format("iteration {} skipped: the gradient of {} is not finite ({}loss scale {:.6g})",
                  record.iteration, bad_parameter, losses, record.loss_scale);
  metrics_->say(text);
  if (loss_scaler_.is_dynamic() || config_.logging.no_check_for_nan) return;
  throw RunError("{}; lower {}, or go on regardless with --no-check-for-nan-in-loss-and-grad", text,
                 config_.loss_scale.loss_scale ? "--loss-scale" : "--lr");
}

void Trainer::validate() {
  if (!task_.validates()) return;
  groups_.calls().set_phase(fmt::format("validation at iteration {}", progress_.iteration));
  const Evaluation evaluation = task_.validate(*model_, progress_.iteration);
  progress_.validated_iteration = progress_.iteration;
  metrics_->evaluation("validation", progress_.iteration, evaluation);
}

void Trainer::open_metrics() {
  MetricsOptions metrics;
  metrics.silent = groups_.world_rank() != 0;
  metrics.world_size = groups_.layout().world_size();
  metrics.log_interval = config_.logging.log_interval;
  metrics.log_throughput = config_.logging.log_throughput;
  metrics.keep_up_to = progress_.iteration;
  metrics.keep_validations_up_to = progress_.validated_iteration;
  if (config_.logging.metrics_file) {
    metrics.file = *config_.logging.metrics_file;
  } else if (config_.checkpoint.save) {
    metrics.file = *config_.checkpoint.save + "/metrics.jsonl";
  }
  metrics_ = std::make_unique<Metrics>(metrics);
}

}  // namespace megalith

#include "megalith/training/trainer.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/checkpoint/save_folder.hpp"
#include "megalith/data/batch_loader.hpp"
#include "megalith/parallel/collectives.hpp"
#include "megalith/pipeline/schedule.hpp"
#include "megalith/training/batch_tensors.hpp"

namespace megalith {

/// Sums over the micro-batches of this rank; the mean over the global batch after sum_over_world.
struct Trainer::StepLoss {
  at::Tensor loss_sum;   // double scalar on the device
  at::Tensor token_sum;  // double scalar
};

double model_flops(const ModelConfig& config, int64_t samples, int64_t seq_length,
                   int64_t padded_vocab) {
  const double tokens = static_cast<double>(samples) * static_cast<double>(seq_length);
  const double h = static_cast<double>(config.hidden_size);
  const double head = static_cast<double>(config.head_size());
  const double query = static_cast<double>(config.num_attention_heads) * head;
  const double key_value = static_cast<double>(config.num_query_groups()) * head;
  const double mlp =
      (config.swiglu ? 3.0 : 2.0) * static_cast<double>(config.ffn_hidden_size()) * h;
  const double layer =
      h * (query + 2 * key_value) + query * h + mlp + 2 * static_cast<double>(seq_length) * query;
  const double all =
      static_cast<double>(config.num_layers) * layer + h * static_cast<double>(padded_vocab);
  return 6.0 * tokens * all;  // 2 a multiply-add, three times: forward, input and weight gradients
}

Trainer::Trainer(RunConfig config, Distributed& distributed, const std::atomic<bool>& stop_signal)
    : config_(std::move(config)),
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
  open_data();

  groups_.calls().set_phase("building the model");
  model_ = std::make_unique<GptModel>(
      config_.model, groups_, config_.training.compute_type(), distributed_.device(),
      checkpoint_ ? std::nullopt : std::optional(config_.training.seed));
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

void Trainer::open_data() {
  DatasetRequest request;
  request.sequence_length = config_.training.seq_length;
  request.seed = config_.training.seed;
  request.samples = requested_samples(total_iterations_, config_.training.train_samples,
                                      config_.logging.eval_interval, config_.logging.eval_iters,
                                      batch_schedule_->final_global_batch());
  request.wanted = {!config_.training.skip_train && total_iterations_ > 0,
                    config_.logging.eval_iters > 0, config_.logging.eval_iters > 0};
  request.vocab_size = tokenizer_->vocab_size();
  request.eod = tokenizer_->eod();
  request.pad = tokenizer_->pad();
  request.tokenizer_json = tokenizer_->description().dump(4);
  const char* const what = "building the sample index";
  if (groups_.world_rank() == 0) {
    request.notice = [](const std::string& line) { fmt::print("{}\n", line); };
    distributed_.on_first_rank(what, [&] { datasets_ = build_datasets(config_.data, request); });
  } else {
    request.role = IndexRole::kLoadOrBuildPrivately;
    request.wait_for_builder = [&] { distributed_.on_first_rank(what, [] {}); };
    datasets_ = build_datasets(config_.data, request);
  }
  if (!request.wanted[0]) return;
  // A cyclic loader starts over when the data end.
  const bool is_cyclic = config_.data.dataloader_type == LoaderKind::kCyclic;
  check_training_data(datasets_, is_cyclic ? 0 : request.samples.train);
}

std::unique_ptr<BatchLoader> Trainer::make_loader(Split split, int64_t consumed) const {
  LoaderOptions options;
  options.name = split == Split::kTrain   ? "training"
                 : split == Split::kValid ? "validation"
                                          : "test";
  options.kind = config_.data.dataloader_type;
  options.consumed_samples = consumed;
  options.micro_batch_size = batch_schedule_->micro_batch_size();
  options.replica_index = groups_.data().rank;
  options.replica_count = groups_.data().size();
  options.data_sharding = !config_.data.no_data_sharding;
  options.wrap = split != Split::kTrain;
  options.vocab_size = config_.model.vocab_size;
  return std::make_unique<BatchLoader>(datasets_.of(split), options);
}

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
    train_loader_ = make_loader(Split::kTrain, progress_.consumed_samples);
    while (!stopped && progress_.iteration < total_iterations_) {
      stopped = train_step();
      const int64_t iteration = progress_.iteration;
      if (!stopped && iteration % eval_interval == 0) validate();
      const auto& interval = config_.checkpoint.save_interval;
      if (interval && iteration % *interval == 0) save(/*is_last=*/false);
    }
    train_loader_.reset();
  }
  if (config_.checkpoint.save && !config_.training.skip_train) save(/*is_last=*/true);
  if (stopped && progress_.iteration < total_iterations_) {
    metrics_->say(fmt::format("stopped at iteration {}", progress_.iteration));
    return;
  }
  const std::string where = fmt::format("iteration {}", progress_.iteration);
  if (datasets_.valid && config_.logging.eval_iters > 0 &&
      (config_.training.skip_train || progress_.validated_iteration != progress_.iteration)) {
    validate();
  }
  if (datasets_.test && config_.logging.eval_iters > 0) {
    groups_.calls().set_phase("test");
    const auto loader = make_loader(Split::kTest, 0);
    metrics_->evaluation("test", where, progress_.iteration, evaluate(*loader));
  }
}

Trainer::StepLoss Trainer::forward_backward(int64_t num_micro_batches, double loss_scale) {
  const auto options = at::TensorOptions(distributed_.device()).dtype(at::kDouble);
  StepLoss sums{at::zeros({}, options), at::zeros({}, options)};
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
            const BatchTensors batch = to_tensors(train_loader_->next(), distributed_.device());
            LayerContext context;
            context.training = true;
            context.key = {config_.training.seed, progress_.iteration, micro_batch,
                           groups_.data().rank, groups_.tensor().rank};
            const at::Tensor losses =
                model_->token_losses(batch.input, batch.labels, context, recompute_plan_);
            const at::Tensor masked = (losses * batch.loss_mask).sum();
            const at::Tensor tokens = batch.loss_mask.sum().clamp_min(1);
            loss = masked / tokens * share;
            sums.loss_sum += masked.detach();
            sums.token_sum += batch.loss_mask.sum();
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
  return sums;
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
  const StepLoss sums = forward_backward(num_micro_batches, record.loss_scale);
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
  // One sum over the world carries the loss (each tensor group once) and the wish to stop.
  const double counted = groups_.tensor().rank == 0 ? 1.0 : 0.0;
  at::Tensor shared = at::stack({sums.loss_sum * counted, sums.token_sum * counted,
                                 at::full_like(sums.loss_sum, my_stop ? 1.0 : 0.0)});
  groups_.calls().set_phase(fmt::format("iteration {}, sharing the loss", progress_.iteration));
  all_reduce(shared, groups_.world());
  shared = shared.cpu();
  record.loss = shared[0].item<double>() / std::max(1.0, shared[1].item<double>());
  record.iteration = progress_.iteration;
  record.total_iterations = total_iterations_;
  record.consumed_samples = progress_.consumed_samples;
  record.gradient_norm = result.gradient_norm;
  record.skipped = !result.updated;
  record.nan = !std::isfinite(record.loss);
  record.tokens = record.global_batch * config_.training.seq_length;
  record.model_flops = model_flops(config_.model, record.global_batch, config_.training.seq_length,
                                   config_.model.padded_vocab_size(groups_.tensor().size()));
  if (config_.logging.log_params_norm) record.parameter_norm = optimizer_->parameter_norm();
  record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  metrics_->record(record);
  if (record.skipped) check_finite(record, result.first_bad_parameter);
  const auto& interval = config_.training.exit_interval;
  return shared[2].item<double>() > 0 || (interval && progress_.iteration % *interval == 0);
}

void Trainer::check_finite(const IterationRecord& record, const std::string& bad_parameter) const {
  const std::string text = fmt::format(
      "iteration {} skipped: the gradient of {} is not finite (loss {:.6g}, loss scale {:.6g})",
      record.iteration, bad_parameter, without_sign(record.loss), record.loss_scale);
  metrics_->say(text);
  if (loss_scaler_.is_dynamic() || config_.logging.no_check_for_nan) return;
  throw RunError("{}; lower {}, or go on regardless with --no-check-for-nan-in-loss-and-grad", text,
                 config_.loss_scale.loss_scale ? "--loss-scale" : "--lr");
}

double Trainer::evaluate(BatchLoader& loader) {
  const c10::NoGradGuard no_grad;
  const auto options = at::TensorOptions(distributed_.device()).dtype(at::kDouble);
  at::Tensor sums = at::zeros({2}, options);
  const int64_t step = batch_schedule_->micro_batch_size() * groups_.data().size();
  const int64_t micro_batches =
      config_.logging.eval_iters * (batch_schedule_->final_global_batch() / step);
  for (int64_t m = 0; m < micro_batches; ++m) {
    const BatchTensors batch = to_tensors(loader.next(), distributed_.device());
    LayerContext context;
    const at::Tensor losses = model_->token_losses(batch.input, batch.labels, context);
    sums[0] += (losses * batch.loss_mask).sum();
    sums[1] += batch.loss_mask.sum();
  }
  all_reduce(sums, groups_.data());
  sums = sums.cpu();
  return sums[0].item<double>() / std::max(1.0, sums[1].item<double>());
}

void Trainer::validate() {
  if (!datasets_.valid || config_.logging.eval_iters == 0) return;
  if (!valid_loader_) {
    // Where an uninterrupted run would stand: one validation for every eval-interval so far.
    const int64_t done = (progress_.iteration - 1) / config_.logging.eval_interval;
    valid_loader_ = make_loader(
        Split::kValid, done * config_.logging.eval_iters * batch_schedule_->final_global_batch());
  }
  groups_.calls().set_phase(fmt::format("validation at iteration {}", progress_.iteration));
  const double loss = evaluate(*valid_loader_);
  progress_.validated_iteration = progress_.iteration;
  metrics_->evaluation("validation", fmt::format("iteration {}", progress_.iteration),
                       progress_.iteration, loss);
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

#include "megalith/training/run_config.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace megalith {
namespace {

constexpr double kLargestSeed = 4294967295;  // NumPy's, which the sample order follows

/// Products of the run's sizes must stay whole numbers of 64 bits.
void check_total_tokens(const TrainingConfig& training, const LoggingConfig& logging,
                        int64_t global_batch, Problems& problems) {
  const auto batch = static_cast<double>(global_batch);
  const auto iterations = static_cast<double>(training.train_iters.value_or(0));
  const double samples =
      std::max(static_cast<double>(training.train_samples.value_or(0)), iterations * batch);
  const double evaluations = iterations / static_cast<double>(logging.eval_interval) + 1;
  const double all =
      std::max(samples, evaluations * static_cast<double>(logging.eval_iters) * batch) *
      static_cast<double>(training.seq_length);
  constexpr double kMost = 1e18;
  if (all <= kMost) return;
  problems.add(
      "the run would read {:.2g} tokens, more than {:.0g}: lower --train-iters {:.0f} (or "
      "--train-samples), --global-batch-size {}, --eval-iters {} or --seq-length {}",
      all, kMost, iterations, global_batch, logging.eval_iters, training.seq_length);
}

void check_recompute(const TrainingConfig& training, int64_t num_layers, Problems& problems) {
  const bool is_full = training.recompute_granularity == RecomputeGranularity::kFull;
  if (training.recompute_activations && is_full) {
    problems.add(
        "--recompute-activations means selective; it contradicts --recompute-granularity full");
  }
  const int64_t chunk = training.recompute_num_layers;
  if (!is_full && chunk != 1) {
    problems.add(
        "--recompute-num-layers {} needs --recompute-granularity full; leave it out, or give both",
        chunk);
  } else if (num_layers > 0 && chunk > num_layers) {
    problems.add("--recompute-num-layers {} is more than --num-layers {}", chunk, num_layers);
  }
  if (!is_full && training.recompute_method == RecomputeMethod::kBlock) {
    problems.add(
        "--recompute-method block needs --recompute-granularity full; leave it out, or give both");
  }
}

}  // namespace

FieldList TrainingConfig::fields() {
  return {
      {"seq-length", &seq_length, "Tokens of one sample.", between(1, kLongestSequence),
       "required"},
      {"train-iters", &train_iters, "Iterations of the whole run.", at_least(1)},
      {"train-samples", &train_samples, "Samples of the whole run, instead of iterations.",
       at_least(1)},
      {"seed", &seed, "Seed of the initial weights, dropout and sample order.",
       between(0, kLargestSeed)},
      {"exit-interval", &exit_interval, "Stop after an iteration that this divides.", at_least(1)},
      {"exit-duration-in-mins", &exit_duration_minutes, "Stop after this many minutes.", above(0)},
      {"skip-train", &skip_train, "Only evaluate."},
      {"bf16", &bf16, "Compute in bf16; main parameters and gradients stay fp32."},
      {"fp16", &fp16, "Compute in fp16 with loss scaling."},
      {"recompute-granularity", choice(recompute_granularity, {"none", "full", "selective"}),
       "What backward computes again instead of keeping: whole layers, or attention only."},
      {"recompute-activations", &recompute_activations,
       "Short for --recompute-granularity selective."},
      {"recompute-method", choice(recompute_method, {"uniform", "block"}),
       "Full recompute in chunks of layers, or of the first layers only."},
      {"recompute-num-layers", &recompute_num_layers,
       "Layers in a chunk (uniform), or layers recomputed (block).", at_least(1)},
      {"ddp-bucket-size", &ddp_bucket_size,
       "Elements of a gradient bucket; its sum over data ranks starts when it is full.",
       at_least(1), "larger of 40,000,000 and 1,000,000 x data ranks"},
  };
}

at::ScalarType TrainingConfig::compute_type() const {
  return bf16 ? at::kBFloat16 : fp16 ? at::kHalf : at::kFloat;
}

RecomputePlan TrainingConfig::recompute_plan() const {
  using Kind = RecomputePlan::Kind;
  if (recompute_granularity == RecomputeGranularity::kFull) {
    return {recompute_method == RecomputeMethod::kUniform ? Kind::kUniform : Kind::kBlock,
            recompute_num_layers};
  }
  const bool selective =
      recompute_activations || recompute_granularity == RecomputeGranularity::kSelective;
  return {selective ? Kind::kSelective : Kind::kNone, 1};
}

FieldList LoggingConfig::fields() {
  return {
      {"eval-interval", &eval_interval, "Iterations between validations.", at_least(1)},
      {"eval-iters", &eval_iters,
       "Batches of each validation and of the test; 0 switches both off.", at_least(0)},
      {"log-interval", &log_interval, "Iterations between log lines.", at_least(1)},
      {"log-throughput", &log_throughput, "Model TFLOP/s of each rank in the log line."},
      {"log-params-norm", &log_params_norm, "L2 norm of the parameters in the log line."},
      {"metrics-file", &metrics_file, "One JSON object a line for each iteration.", std::nullopt,
       "metrics.jsonl in --save"},
      {"no-check-for-nan-in-loss-and-grad", &no_check_for_nan,
       "Go on when the loss or a gradient is not finite."},
  };
}

FieldList CheckpointConfig::fields() {
  return {
      {"save", &save, "Folder that checkpoints are written to; one run at a time."},
      {"save-interval", &save_interval, "Iterations between checkpoints.", at_least(1)},
      {"save-retain-interval", &save_retain_interval,
       "Once a newer checkpoint is complete, remove those whose iteration this does not divide.",
       at_least(1), "all are kept"},
      {"keep-last", &keep_last,
       "Once a newer checkpoint is complete, remove all but the newest so many (and those of "
       "--save-retain-interval).",
       at_least(1), "all are kept"},
      {"on-save-failure", choice(on_save_failure, {"stop", "continue"}),
       "When a checkpoint cannot be written, such as on a full disk. By default the run stops, for "
       "what it computes afterwards is lost if the next save fails too. The last save must succeed "
       "either way."},
      {"load", &load, "Folder of the checkpoint to go on from."},
      {"load-if-exists", &load_if_exists,
       "Start anew when --load holds no checkpoint: for commands that are restarted. A damaged "
       "checkpoint stays an error."},
      {"ckpt-step", &ckpt_step, "Iteration to load.", at_least(0), "the latest"},
      {"use-checkpoint-args", &use_checkpoint_args,
       "Take the model's shape, the sequence length and, where --tokenizer-type is not given, the "
       "tokenizer from the checkpoint."},
      {"finetune", &finetune, "Take the weights only and start from iteration 0."},
      {"no-load-optim", &no_load_optim, "Do not load the optimizer's state."},
      {"no-save-optim", &no_save_optim, "Do not save the optimizer's state."},
  };
}

void CheckpointConfig::check(Problems& problems) const {
  const auto needs = [&](bool given, const char* flag, bool has, const char* needed) {
    if (given && !has) {
      problems.add("--{} without --{}; say where to {}", flag, needed,
                   needed == std::string("save") ? "save" : "load from");
    }
  };
  needs(save_interval.has_value(), "save-interval", save.has_value(), "save");
  needs(save_retain_interval.has_value(), "save-retain-interval", save.has_value(), "save");
  needs(keep_last.has_value(), "keep-last", save.has_value(), "save");
  needs(no_save_optim, "no-save-optim", save.has_value(), "save");
  needs(load_if_exists, "load-if-exists", load.has_value(), "load");
  needs(ckpt_step.has_value(), "ckpt-step", load.has_value(), "load");
  needs(finetune, "finetune", load.has_value(), "load");
  needs(no_load_optim, "no-load-optim", load.has_value(), "load");
  if (save_retain_interval && save_interval && *save_retain_interval % *save_interval != 0) {
    problems.add(
        "--save-retain-interval {} is no multiple of --save-interval {}, so it would keep fewer "
        "checkpoints than it says; make it a multiple",
        *save_retain_interval, *save_interval);
  }
}

void RunConfig::choose_model(const std::string& family) {
  if (family == "bert") model.become_bert(!bert.no_binary_head);
}

std::vector<std::pair<std::string, FieldList>> RunConfig::sections() {
  auto data_sections = task_sections;
  if (!is_finetuning()) {
    data_sections = {{"Data", data.fields()}, {"BERT's samples", bert.fields()}};
  }
  std::vector<std::pair<std::string, FieldList>> all{{"Model", model.fields()},
                                                     {"Tokenizer", tokenizer.fields()}};
  all.insert(all.end(), data_sections.begin(), data_sections.end());
  all.insert(all.end(), {{"Training", training.fields()},
                         {"Batch size", batch.fields()},
                         {"Optimizer", optimizer.fields()},
                         {"Learning rate and weight decay", learning_rate.fields()},
                         {"Loss scale (fp16)", loss_scale.fields()},
                         {"Parallelism", distributed.fields()},
                         {"Validation and logging", logging.fields()},
                         {"Checkpoints", checkpoint.fields()}});
  return all;
}

nlohmann::json RunConfig::to_json() {
  nlohmann::json object;
  for (const auto& [title, fields] : sections()) object[title] = fields_to_json(fields);
  return object;
}

void RunConfig::resolve_and_check(const LaunchEnvironment& environment, Problems& problems) {
  if (training.seq_length <= 0) {
    problems.add_missing("seq-length", "give the tokens of one sample, e.g. 1024");
  }
  if (model.max_position_embeddings == 0) model.max_position_embeddings = training.seq_length;
  if (training.seq_length > model.max_position_embeddings) {
    problems.add("--seq-length {} is longer than --max-position-embeddings {}; raise the positions",
                 training.seq_length, model.max_position_embeddings);
  }
  const int64_t tensor = distributed.tensor_model_parallel_size;
  model.check(tensor, problems);
  check_tokenizer_config(tokenizer, problems);
  if (!is_finetuning()) data.check(problems);
  if (is_bert() && !is_finetuning()) bert.check(training.seq_length, training.seed, problems);
  distributed.check_settings(environment, problems);
  if (training.bf16 && training.fp16)
    problems.add("--bf16 and --fp16 exclude each other; give one");
  loss_scale.check(training.fp16, problems);
  if (!training.train_iters && !training.train_samples && !problems.was_refused("train-samples")) {
    problems.add_missing("train-iters", "give the length of the run, or --train-samples");
  }
  if (training.train_iters && training.train_samples) {
    problems.add("--train-iters and --train-samples exclude each other; give one");
  }
  check_recompute(training, model.num_layers, problems);
  if (training.skip_train && logging.eval_iters == 0) {
    problems.add("--skip-train with --eval-iters 0 leaves nothing to do; evaluate some batches");
  }
  if (environment.world_size % tensor == 0) {
    const int64_t data_size = environment.world_size / tensor;
    batch.check(data_size, training.train_iters.has_value(), problems);
    const TrainingLength length{
        training.train_iters, training.train_samples,
        batch.micro_batch_size ? batch.resolved_global_batch_size(data_size) : 1};
    const size_t before = problems.texts().size();
    check_total_tokens(training, logging, length.global_batch_size, problems);
    if (problems.texts().size() == before) {
      resolve_parameter_schedule(learning_rate, length, problems);
    }
  }
  checkpoint.check(problems);
}

PlanRequest RunConfig::plan_request(int64_t world_size) const {
  PlanRequest request;
  request.model = model;
  request.layout.tensor = distributed.tensor_model_parallel_size;
  request.layout.data = world_size / request.layout.tensor;
  request.micro_batch_size = *batch.micro_batch_size;
  request.seq_length = training.seq_length;
  request.global_batch_size = batch.resolved_global_batch_size(request.layout.data);
  request.compute_bytes = training.bf16 || training.fp16 ? 2 : 4;
  const bool on_cpu = !distributed.uses_cuda();
  request.keeps_masks = !on_cpu || training.fp16;
  request.widens_products = on_cpu && training.fp16;
  request.moments = optimizer.kind == OptimizerKind::kAdam ? 2 : 1;
  if (is_bert()) request.predicted_share = model.lm_head_transform ? bert.mask_prob : 0;
  const RecomputePlan plan = training.recompute_plan();
  request.recompute = static_cast<PlanRequest::Recompute>(plan.kind);
  request.recompute_layers = plan.num_layers;
  return request;
}

int64_t RunConfig::train_iterations(int64_t data_size) const {
  if (training.train_iters) return *training.train_iters;
  return BatchSizeSchedule(batch, data_size).num_iterations(*training.train_samples);
}

}  // namespace megalith

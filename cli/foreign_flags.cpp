#include "cli/foreign_flags.hpp"

namespace megalith::cli {
namespace {

using Kind = ForeignFlag::Kind;

void add(std::vector<ForeignFlag>& flags, Kind kind, const std::string& text, int64_t values,
         std::initializer_list<const char*> names, const std::string& value = {}) {
  for (const char* name : names) flags.push_back({name, kind, text, values, value});
}

void add_old_spellings(std::vector<ForeignFlag>& flags) {
  const std::pair<const char*, const char*> one_value[] = {
      {"batch-size", "micro-batch-size"},
      {"model-parallel-size", "tensor-model-parallel-size"},
      {"warmup", "lr-warmup-fraction"},
      {"layernorm-epsilon", "norm-epsilon"},
      {"encoder-seq-length", "seq-length"},
      {"encoder-num-layers", "num-layers"},
      {"checkpoint-num-layers", "recompute-num-layers"},
  };
  for (const auto& [old, now] : one_value) flags.push_back({old, Kind::kOldSpelling, now, 1});
  flags.push_back(
      {"checkpoint-activations", Kind::kOldSpelling, "recompute-granularity", 0, "full"});
  flags.push_back({"use-rope-scaling", Kind::kOldSpelling, "rope-scaling-type", 0, "llama3"});
}

void add_ignored(std::vector<ForeignFlag>& flags) {
  const auto ignored = [&](const std::string& why, int64_t values,
                           std::initializer_list<const char*> names) {
    add(flags, Kind::kIgnored, why, values, names);
  };
  ignored("there is one model implementation", 0, {"use-mcore-models", "use-legacy-models"});
  ignored("there is one model implementation", 1, {"transformer-impl"});
  ignored("which kernels run is decided here and changes speed only", 0,
          {"no-masked-softmax-fusion", "no-bias-gelu-fusion", "no-bias-swiglu-fusion",
           "no-bias-dropout-fusion", "no-rope-fusion", "no-gradient-accumulation-fusion",
           "no-persist-layer-norm", "cross-entropy-loss-fusion", "use-flash-attn"});
  ignored("which kernels run is decided here and changes speed only", 1,
          {"attention-backend", "cross-entropy-fusion-impl"});
  ignored("a background thread reads ahead in any case", 1, {"num-workers"});
  ignored("softmax statistics are fp32 in any case", 0, {"attention-softmax-in-fp32"});
  ignored("gradients are accumulated and reduced in fp32 in any case", 0,
          {"accumulate-allreduce-grads-in-fp32"});
  ignored("gradients are reduced during backward in any case", 0, {"overlap-grad-reduce"});
  ignored("the input gradient's all-reduce runs beside the weight gradient in any case", 0,
          {"no-async-tensor-model-parallel-allreduce"});
  ignored("initial weights do not depend on the layout in any case", 0, {"use-cpu-initialization"});
  ignored("SIGTERM and SIGINT save and stop in any case", 0, {"exit-signal-handler"});
  ignored("datasets are memory-mapped", 1, {"data-impl"});
  ignored("there is no Python garbage to collect", 0, {"manual-gc"});
  ignored("there is no Python garbage to collect", 1, {"manual-gc-interval"});
  ignored("random streams are keys and are not stored", 0, {"no-save-rng", "no-load-rng"});
  ignored("a missing checkpoint is an error in any case", 0, {"exit-on-missing-checkpoint"});
  ignored("there is one checkpoint format", 1, {"ckpt-format"});
  ignored("the ranks come from the launcher", 1, {"local-rank", "local_rank"});
  ignored("timers are not built; the log line tells the time of an iteration", 1,
          {"timing-log-level", "timing-log-option"});
  ignored("every rank reads its own slices in any case", 0, {"ckpt-fully-parallel-load"});
  ignored("tensors that are missing or too many are an error in any case", 1,
          {"dist-ckpt-strictness"});
  ignored("--tensorboard-dir is not supported", 1,
          {"tensorboard-log-interval", "tensorboard-queue-size"});
  ignored("validation perplexity is always written", 0, {"log-validation-ppl-to-tensorboard"});
}

void add_refused(std::vector<ForeignFlag>& flags) {
  const auto refused =
      [&](const std::string& why, int64_t values, std::initializer_list<const char*> names,
          const std::string& value = {}) { add(flags, Kind::kRefused, why, values, names, value); };
  refused("there is one pipeline stage so far; use tensor and data parallelism", 1,
          {"pipeline-model-parallel-size"}, "1");
  refused("there is one pipeline stage so far", 1,
          {"num-layers-per-virtual-pipeline-stage", "num-virtual-stages-per-pipeline-rank",
           "pipeline-model-parallel-layout", "decoder-first-pipeline-num-layers",
           "decoder-last-pipeline-num-layers"});
  refused("sequences are not split over ranks yet", 1, {"context-parallel-size"}, "1");
  refused("sequences are not split over ranks yet", 1, {"cp-comm-type"});
  refused("sequence parallelism is not built yet; leave it out, the results are the same", 0,
          {"sequence-parallel"});
  refused("the optimizer's state is not sharded yet; leave it out, the results are the same", 0,
          {"use-distributed-optimizer", "overlap-param-gather", "use-megatron-fsdp",
           "use-torch-fsdp2"});
  refused("there are no experts yet", 1,
          {"expert-model-parallel-size", "expert-tensor-parallel-size"}, "1");
  refused("there are no experts yet", 1,
          {"num-experts", "moe-router-topk", "moe-router-load-balancing-type", "moe-aux-loss-coeff",
           "moe-z-loss-coeff", "moe-token-dispatcher-type", "moe-expert-capacity-factor"});
  refused("there are no experts yet", 0, {"moe-grouped-gemm"});
  refused("fp8 is not built", 1,
          {"fp8-format", "fp8-recipe", "fp8-amax-history-len", "fp8-amax-compute-algo"});
  refused("fp8 is not built", 0, {"fp8-param-gather"});
  refused("norm weights are stored as they are", 0, {"apply-layernorm-1p"});
  refused("give --rope-scaling-type linear with --rope-scaling-factor", 1,
          {"rotary-seq-len-interpolation-factor"});
  refused("softmax runs in fp32, so the scaling it guards against is not needed", 0,
          {"apply-query-key-layer-scaling"});
  refused("the residual stream has the compute type", 0, {"fp32-residual-connection"});
  refused("only normal initial weights are built", 0, {"init-method-xavier-uniform"});
  refused("every data rank must start from the same model", 0, {"data-parallel-random-init"});
  refused("one learning rate serves all parameters", 1, {"decoupled-lr", "decoupled-min-lr"});
  refused("the loss is averaged within each micro-batch first", 0, {"calculate-per-token-loss"});
  refused("checkpoints are written in the foreground", 0, {"async-save"});
  refused("temporary checkpoints are not built", 1,
          {"non-persistent-save-interval", "non-persistent-ckpt-type"});
  refused("use --load with --finetune", 1, {"pretrained-checkpoint"});
  refused("on resume the flags' schedule goes on from the stored samples", 0,
          {"override-opt_param-scheduler", "use-checkpoint-opt_param-scheduler",
           "override-opt-param-scheduler", "use-checkpoint-opt-param-scheduler"});
  refused("metrics go to metrics.jsonl (--metrics-file)", 1,
          {"tensorboard-dir", "wandb-project", "wandb-entity", "wandb-exp-name", "wandb-save-dir"});
  refused("metrics go to metrics.jsonl (--metrics-file)", 0,
          {"log-memory-to-tensorboard", "log-timers-to-tensorboard"});
  refused("it is not logged yet", 0, {"log-num-zeros-in-grad"});
  refused("use a profiler on the process", 0,
          {"profile", "use-pytorch-profiler", "record-memory-history"});
  refused("use a profiler on the process", 1, {"profile-step-start", "profile-step-end"});
  refused("use a profiler on the process", -1, {"profile-ranks"});
  refused("slow ranks are not looked for", 0, {"log-straggler"});
  refused("there is no encoder beside the decoder; give --seq-length", 1, {"decoder-seq-length"});
  refused("every data rank holds the whole model so far", 1, {"data-parallel-sharding-strategy"},
          "no_shard");
  refused("CUDA graphs are not built", 1, {"cuda-graph-impl"}, "none");
  refused("activations stay on the device", 0,
          {"distribute-saved-activations", "cpu-offloading", "optimizer-cpu-offload"});
  refused("use --recompute-granularity", -1, {"recompute-modules"});
  refused("tensor-parallel traffic overlaps with the weight gradient only", 0, {"tp-comm-overlap"});
  refused("evaluation takes --eval-iters batches of one set", 0,
          {"full-validation", "multiple-validation-sets"});
  refused("the loss is checked at every step; nothing is run again", 1, {"rerun-mode"}, "disabled");
  refused("the loss is checked at every step; nothing is run again", 1, {"error-injection-rate"},
          "0");
  refused("spikes are not looked for", 0, {"check-for-spiky-loss"});
  refused("replicas are not compared yet", 1, {"check-weight-hash-across-dp-replicas-interval"});
  refused("results are deterministic at a fixed thread count; nothing to switch", 0,
          {"deterministic-mode"});
  refused("restart with --load-if-exists instead", 0, {"inprocess-restart", "enable-ft-package"});
  refused("bin files are read by memory map", 0, {"no-mmap-bin-files"});
  refused("vocabularies take no extra ids here", 1, {"vocab-extra-ids"}, "0");
  refused("the model is described by flags, not by a Python module", 2, {"spec"});
  refused("run files are TOML: --config", 1, {"yaml-cfg"});
}

}  // namespace

std::vector<ForeignFlag> pretrain_foreign_flags() {
  std::vector<ForeignFlag> flags;
  add_old_spellings(flags);
  add_ignored(flags);
  add_refused(flags);
  return flags;
}

}  // namespace megalith::cli

// Every help text and every flag of upstream's scripts, seen from outside: helps are complete and
// fit a terminal of 80 columns, and no flag of upstream is unknown.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "megalith/training/run_config.hpp"
#include "support/process.hpp"

namespace megalith::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kWidth = 80;

ProcessResult megalith(const std::string& text) {
  return run_process(Words{MEGALITH_BINARY} + cut(text));
}

/// Code points, not bytes.
size_t columns(const std::string& line) {
  return static_cast<size_t>(std::count_if(line.begin(), line.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

const char* const kCommands[] = {"preprocess",
                                 "pretrain",
                                 "generate",
                                 "tokenize",
                                 "launch",
                                 "doctor",
                                 "data info",
                                 "data show",
                                 "data verify",
                                 "data merge",
                                 "evaluate wikitext103",
                                 "evaluate lambada",
                                 "evaluate perplexity",
                                 "evaluate multiple-choice",
                                 "evaluate contamination",
                                 "evaluate mnli",
                                 "evaluate squad",
                                 "evaluate classification",
                                 "finetune mnli",
                                 "finetune qqp",
                                 "finetune squad",
                                 "finetune race",
                                 "finetune multiple-choice",
                                 "finetune classification",
                                 "data index",
                                 "data samples",
                                 "checkpoint list",
                                 "checkpoint diff",
                                 "checkpoint inspect"};

TEST(Help, OfEverySubcommandFitsATerminal) {
  Words commands(std::begin(kCommands), std::end(kCommands));
  commands.insert(commands.end(), {"", "data", "checkpoint", "evaluate", "finetune"});
  for (const auto& command : commands) {
    SCOPED_TRACE(command);
    const auto result = megalith(command + " --help");
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.err, "");
    EXPECT_THAT(result.out, HasSubstr("Usage: megalith " + command));
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LE(columns(line), kWidth) << line;
      EXPECT_FALSE(line.ends_with(' ')) << line;
    }
  }
}

TEST(Help, ComesByHelpToo) {
  for (const char* command : {"pretrain", "data", "launch"}) {
    EXPECT_EQ(megalith(std::string("help ") + command).out,
              megalith(command + std::string(" --help")).out);
    EXPECT_EQ(megalith(command + std::string(" -h")).out,
              megalith(command + std::string(" --help")).out);
  }
  EXPECT_EQ(megalith("help help").out, megalith("help").out);
  EXPECT_EQ(megalith("--help --help").out, megalith("help").out);
  EXPECT_EQ(megalith("help data index").out, megalith("data index --help").out);
  for (const char* command : kCommands) {
    const std::string first = cut(command).front();
    EXPECT_THAT(megalith("help").out, HasSubstr("  " + first + " "));
  }
}

TEST(Help, OfPretrainNamesEveryFlagWithItsDefault) {
  const std::string help = megalith("pretrain --help").out;
  RunConfig config;
  size_t last = 0;
  for (const auto& [title, fields] : config.sections()) {
    const size_t section = help.find("\n" + title + ":\n");
    ASSERT_NE(section, std::string::npos) << title;
    EXPECT_GT(section, last);
    last = section;
    const std::string body = help.substr(section, help.find("\n\n", section + 1) - section);
    for (const auto& field : fields) {
      const size_t at = body.find("\n  --" + field.name);
      ASSERT_NE(at, std::string::npos) << field.name;
      const std::string entry = body.substr(at, body.find("\n  --", at + 1) - at);
      const auto words = field_words(field);
      const bool has_default = words && !words->empty() && words->front() != "false" &&
                               !words->front().empty() && words->front() != "0";
      if (has_default) {
        EXPECT_THAT(entry, HasSubstr("[")) << field.name;
      }
    }
  }
  for (const char* flag : {"--dry-run", "--config FILE.toml", "--help"}) {
    EXPECT_THAT(help, HasSubstr(flag));
  }
}

// The flags that upstream's pretrain_gpt.py and pretrain_bert.py scripts use, and old spellings.
constexpr const char* kUpstreamFlags =
    "--num-layers 1 --hidden-size 1 --ffn-hidden-size 1 --num-attention-heads 1 --kv-channels 1 "
    "--group-query-attention --num-query-groups 1 --seq-length 1 --encoder-seq-length 1 "
    "--decoder-seq-length 1 --max-position-embeddings 1 --position-embedding-type a "
    "--rotary-base 1 --rotary-percent 1 --use-rope-scaling --rope-scaling-factor 1 "
    "--rotary-seq-len-interpolation-factor 1 --normalization a --norm-epsilon 1 "
    "--layernorm-epsilon 1 "
    "--apply-layernorm-1p --apply-residual-connection-post-layernorm --swiglu --squared-relu "
    "--openai-gelu --disable-bias-linear --add-qkv-bias --untie-embeddings-and-output-weights "
    "--make-vocab-size-divisible-by 1 --qk-layernorm --apply-query-key-layer-scaling "
    "--attention-softmax-in-fp32 --attention-backend a --use-flash-attn --bert-no-binary-head "
    "--transformer-impl a --spec a b --use-mcore-models --use-legacy-models --hidden-dropout 1 "
    "--attention-dropout 1 --init-method-std 1 --init-method-xavier-uniform "
    "--use-cpu-initialization --seed 1 --data-parallel-random-init --micro-batch-size 1 "
    "--global-batch-size 1 --rampup-batch-size 1 1 1 --train-iters 1 --train-samples 1 "
    "--exit-interval 1 --exit-duration-in-mins 1 --exit-signal-handler --skip-train "
    "--optimizer a --adam-beta1 1 --adam-beta2 1 --adam-eps 1 --sgd-momentum 1 --weight-decay 1 "
    "--start-weight-decay 1 --end-weight-decay 1 --weight-decay-incr-style constant "
    "--clip-grad 1 --lr 1 --min-lr 1 --lr-decay-style a --lr-decay-iters 1 --lr-decay-samples 1 "
    "--lr-warmup-iters 1 --lr-warmup-samples 1 --lr-warmup-fraction 0.1 --lr-warmup-init 1 "
    "--lr-wsd-decay-style linear --lr-wsd-decay-iters 1 --override-opt_param-scheduler "
    "--use-checkpoint-opt_param-scheduler --decoupled-lr 1 --decoupled-min-lr 1 --fp16 --bf16 "
    "--loss-scale 1 --initial-loss-scale 1 --min-loss-scale 1 --loss-scale-window 1 "
    "--hysteresis 1 --fp32-residual-connection --accumulate-allreduce-grads-in-fp32 "
    "--fp8-format a --fp8-recipe a --fp8-amax-history-len 1 --fp8-amax-compute-algo a "
    "--fp8-param-gather --tensor-model-parallel-size 1 --pipeline-model-parallel-size 1 "
    "--num-layers-per-virtual-pipeline-stage 1 --num-virtual-stages-per-pipeline-rank 1 "
    "--pipeline-model-parallel-layout a --decoder-first-pipeline-num-layers 1 "
    "--decoder-last-pipeline-num-layers 1 --context-parallel-size 1 --cp-comm-type a "
    "--expert-model-parallel-size 1 --expert-tensor-parallel-size 1 --num-experts 1 "
    "--moe-router-topk 1 --moe-router-load-balancing-type a --moe-aux-loss-coeff 1 "
    "--moe-z-loss-coeff 1 --moe-grouped-gemm --moe-token-dispatcher-type a "
    "--moe-expert-capacity-factor 1 --sequence-parallel --use-distributed-optimizer "
    "--overlap-grad-reduce --overlap-param-gather --tp-comm-overlap --use-megatron-fsdp "
    "--data-parallel-sharding-strategy a --use-torch-fsdp2 --recompute-granularity a "
    "--recompute-method uniform --recompute-num-layers 1 --recompute-modules a b "
    "--recompute-activations --checkpoint-activations --distribute-saved-activations "
    "--cpu-offloading --optimizer-cpu-offload --no-masked-softmax-fusion --no-bias-gelu-fusion "
    "--no-bias-swiglu-fusion --no-bias-dropout-fusion --no-rope-fusion "
    "--no-gradient-accumulation-fusion --no-persist-layer-norm --cross-entropy-loss-fusion "
    "--cross-entropy-fusion-impl a --no-async-tensor-model-parallel-allreduce "
    "--cuda-graph-impl a --distributed-backend a --distributed-timeout-minutes 1 --data-path a "
    "--train-data-path a --valid-data-path a --test-data-path a --data-args-path a --split a "
    "--data-cache-path a --mock-data --no-mmap-bin-files --num-workers 1 --dataloader-type a "
    "--tokenizer-type a --vocab-file a --merge-file a --tokenizer-model a --vocab-size 1 "
    "--vocab-extra-ids 1 --reset-position-ids --reset-attention-mask --eod-mask-loss "
    "--mask-prob 1 --short-seq-prob 1 --calculate-per-token-loss --save a --load a "
    "--save-interval 1 --save-retain-interval 1 --no-save-optim --no-save-rng --no-load-optim "
    "--no-load-rng --finetune --pretrained-checkpoint a --ckpt-step 1 --use-checkpoint-args "
    "--exit-on-missing-checkpoint --ckpt-format a --async-save --ckpt-fully-parallel-load "
    "--dist-ckpt-strictness a --non-persistent-save-interval 1 --non-persistent-ckpt-type a "
    "--eval-interval 1 --eval-iters 1 --full-validation --multiple-validation-sets "
    "--log-interval 1 --log-throughput --log-params-norm --log-num-zeros-in-grad "
    "--log-memory-to-tensorboard --log-validation-ppl-to-tensorboard --log-timers-to-tensorboard "
    "--timing-log-level 1 --timing-log-option a --tensorboard-dir a --tensorboard-log-interval 1 "
    "--tensorboard-queue-size 1 --wandb-project a --wandb-entity a --wandb-exp-name a "
    "--wandb-save-dir a --profile --profile-step-start 1 --profile-step-end 1 "
    "--profile-ranks 0 1 --use-pytorch-profiler --record-memory-history --deterministic-mode "
    "--rerun-mode a --error-injection-rate 1 --no-check-for-nan-in-loss-and-grad "
    "--check-for-spiky-loss --check-weight-hash-across-dp-replicas-interval 1 "
    "--inprocess-restart --enable-ft-package --log-straggler --manual-gc --manual-gc-interval 1 "
    "--yaml-cfg a --batch-size 1 --model-parallel-size 1 --warmup 0.1 --data-impl mmap "
    "--local-rank 0 ";

TEST(UpstreamFlags, AreAllKnownAndTakeTheirValues) {
  const auto result = megalith(std::string("pretrain gpt ") + kUpstreamFlags);
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("mistakes:"));
  EXPECT_THAT(result.err, Not(HasSubstr("unknown flag")));
  EXPECT_THAT(result.err, Not(HasSubstr("unexpected word")));
}

TEST(UpstreamFlags, ThatCannotBeHonouredAreRefusedOneByOne) {
  for (const char* flag :
       {"--sequence-parallel", "--pipeline-model-parallel-size 2", "--num-experts 8",
        "--use-distributed-optimizer", "--tensorboard-dir t", "--context-parallel-size 2",
        "--fp8-format e4m3", "--apply-layernorm-1p", "--spec a b", "--profile-ranks 0 1"}) {
    const auto result = megalith(std::string("pretrain gpt ") + flag);
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.err, HasSubstr(cut(flag).front() + " is not supported: "));
  }
}

TEST(UpstreamFlags, WithoutEffectAreTakenWithANotice) {
  const auto result = megalith(
      "pretrain gpt --mock-data --num-layers 1 --hidden-size 8 --num-attention-heads 2 "
      "--encoder-seq-length 8 --batch-size 3 --micro-batch-size 1 --train-iters 1 --lr 1 --lr 0.5 "
      "--tokenizer-type NullTokenizer --vocab-size 9 --vocab-size 10 --dry-run "
      "--use-mcore-models --num-workers 2 --pipeline-model-parallel-size 1 --no-rope-fusion");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("notice: --use-mcore-models has no effect here: "));
  EXPECT_THAT(result.err, HasSubstr("notice: --num-workers has no effect here: "));
  EXPECT_THAT(result.err, HasSubstr("notice: --encoder-seq-length is an old spelling"));
  EXPECT_THAT(result.err, Not(HasSubstr("pipeline")));
}

}  // namespace
}  // namespace megalith::testing

// megalith checkpoint convert: a checkpoint of upstream's as one of ours, or one of ours in other
// files or another precision. Flags and what is said; the work is in megalith/checkpoint.
#include <nlohmann/json.hpp>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/process_settings.hpp"
#include "megalith/checkpoint/checkpoint_source.hpp"
#include "megalith/checkpoint/manifest.hpp"
#include "megalith/checkpoint/upstream_checkpoint.hpp"
#include "megalith/checkpoint/upstream_folder.hpp"
#include "megalith/checkpoint/write_model.hpp"
#include "megalith/core/stopwatch.hpp"

namespace megalith::cli {
namespace {

struct ConvertFlags {
  std::optional<std::string> load, save;
  std::optional<int64_t> ckpt_step, vocab_size, num_attention_heads;
  int64_t num_files = 1;
  enum class Precision { kKept, kFp32, kBf16, kFp16 } precision = Precision::kKept;

  FieldList fields() {
    return {
        {"load", &load,
         "A save folder or one checkpoint's folder: upstream's legacy torch format "
         "(mp_rank_00/model_optim_rng.pt), or ours."},
        {"save", &save, "The save folder to write to. A checkpoint that is there is not replaced."},
        {"ckpt-step", &ckpt_step, "The iteration to convert.", at_least(0), "the latest"},
        {"num-files", &num_files,
         "Files to spread the weights over, each of whole tensors; with "
         "optimizer state, as many again.",
         between(1, 100'000)},
        {"dtype", choice(precision, {"keep", "fp32", "bf16", "fp16"}),
         "The type of the weights. Another type than theirs leaves the optimizer's state out."},
    };
  }
  FieldList upstream_fields() {
    return {
        {"vocab-size", &vocab_size, "Entries of the tokenizer, without padding.", at_least(1),
         "what the checkpoint says"},
        {"num-attention-heads", &num_attention_heads, "For files without saved arguments.",
         at_least(1), "what the checkpoint says"},
    };
  }
  std::optional<at::ScalarType> dtype() const {
    switch (precision) {
      case Precision::kKept:
        return std::nullopt;
      case Precision::kFp32:
        return at::kFloat;
      case Precision::kBf16:
        return at::kBFloat16;
      case Precision::kFp16:
        return at::kHalf;
    }
    return std::nullopt;
  }
};

ModelSource open_ours(const ConvertFlags& flags) {
  if (flags.vocab_size || flags.num_attention_heads) {
    throw UsageError(
        "--vocab-size and --num-attention-heads are for upstream's checkpoints; {} is one of ours "
        "and says them itself: leave them out",
        *flags.load);
  }
  const auto source = source_of(Checkpoint::open(*flags.load, flags.ckpt_step), flags.dtype());
  if (source.num_dropped > 0) {
    fmt::print(
        "notice: the weights change their type, so {} tensors of the optimizer's state are left "
        "out; train on with --no-load-optim or --finetune\n",
        source.num_dropped);
  }
  if (source.takes_main) fmt::print("notice: the weights are taken from the main parameters\n");
  return source.model;
}

ModelSource open_source(const ConvertFlags& flags) {
  const auto upstream = find_upstream_checkpoint(*flags.load, flags.ckpt_step);
  if (!upstream) return open_ours(flags);
  return read_upstream_checkpoint(*upstream, {flags.vocab_size, flags.num_attention_heads});
}

}  // namespace

int run_checkpoint_convert(const Words& words) {
  ConvertFlags flags;
  CommandLine command("megalith checkpoint convert",
                      "Write a checkpoint as one of ours: from upstream's legacy torch format, or "
                      "ours again in other files or another precision.");
  command.section("Convert", flags.fields());
  command.section("What upstream's files may not say", flags.upstream_fields());
  command.epilogue(
      "  megalith checkpoint convert --load megatron/345m --save checkpoints/345m\n"
      "  megalith checkpoint convert --load checkpoints/run --save half --dtype bf16\n");
  Problems problems;
  if (!command.parse(words, problems)) return 0;
  if (!flags.load) problems.add_missing("load", "give the folder of the checkpoint to read");
  if (!flags.save) problems.add_missing("save", "give the save folder to write to");
  problems.raise_if_any();
  keep_freed_memory();

  Stopwatch watch;
  const ModelSource source = open_source(flags);
  const std::string folder =
      write_model(source, *flags.save, {.num_files = flags.num_files, .dtype = flags.dtype()});
  ConversionTimes times{.written_s = watch.lap()};
  int64_t bytes = 0;
  const auto written = Checkpoint::open(folder);
  for (const auto& file : written.manifest().files) bytes += file.bytes;
  written.verify_all();
  times.verified_s = watch.lap();
  fmt::print("{} -> {}: {} tensors, {} files, {} bytes, {}\n", source.origin, folder,
             source.tensors.size(), written.manifest().files.size(), bytes, times.text());
  return 0;
}

}  // namespace megalith::cli

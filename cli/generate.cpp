// megalith generate: continue prompts with a trained model. Flags, tokenizer and weights; the text
// goes through prompt_session, tokens through generation/generator. Never runs on random weights.
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/process_settings.hpp"
#include "cli/prompt_session.hpp"
#include "megalith/checkpoint/model_io.hpp"
#include "megalith/core/digest.hpp"
#include "megalith/core/output_path.hpp"

namespace megalith::cli {
namespace {

struct GenerateFlags {
  std::optional<std::string> load, prompts_file, output;
  std::optional<int64_t> ckpt_step;
  std::vector<std::string> prompt;
  bool interactive = false, fp32 = false, bf16 = false, fp16 = false;

  FieldList model_fields() {
    return {
        {"load", &load, "The checkpoints' folder, or the folder of one checkpoint."},
        {"ckpt-step", &ckpt_step, "The iteration to load.", at_least(0), "the latest"},
        {"fp32", &fp32, "Compute in fp32, whatever the weights are stored in."},
        {"bf16", &bf16, "Compute in bf16."},
        {"fp16", &fp16, "Compute in fp16."},
    };
  }
  FieldList text_fields() {
    return {
        {"prompt", &prompt, "The texts to continue. An empty one starts from the end-of-text."},
        {"prompts-file", &prompts_file, "A file with one prompt a line; lines end at LF."},
        {"interactive", &interactive,
         "Read prompts line by line and show continuations as they are written; on a terminal this "
         "is what happens without --prompt and --prompts-file."},
        {"output", &output,
         "Write JSON lines (prompt, sample, text, tokens, ended) here instead of text on standard "
         "output."},
    };
  }
  bool has_prompts() const { return !prompt.empty() || prompts_file; }
};

std::vector<ForeignFlag> foreign_flags() {
  using Kind = ForeignFlag::Kind;
  std::vector<ForeignFlag> flags{
      {"top_k", Kind::kOldSpelling, "top-k", 1},
      {"top_p", Kind::kOldSpelling, "top-p", 1},
      {"prompts", Kind::kOldSpelling, "prompt", -1},
      {"num-tokens-to-generate", Kind::kOldSpelling, "max-new-tokens", 1},
      {"out-seq-length", Kind::kRefused, "give the number of new tokens by --max-new-tokens", 1},
      {"use-checkpoint-args", Kind::kIgnored, "the checkpoint always says what the model is"},
  };
  ModelConfig model;
  for (const auto& field : model.fields()) {
    const bool is_switch = std::holds_alternative<bool*>(field.value);
    flags.push_back(
        {field.name, Kind::kRefused, "the checkpoint says what the model is", is_switch ? 0 : 1});
  }
  return flags;
}

void check_flags(GenerateFlags& flags, int64_t world_size, Problems& problems) {
  if (!flags.load) {
    problems.add_missing("load", "give the folder that megalith pretrain --save wrote");
  }
  if (int{flags.fp32} + int{flags.bf16} + int{flags.fp16} > 1) {
    problems.add("--fp32, --bf16 and --fp16 exclude each other; give at most one");
  }
  if (flags.prompts_file && !flags.prompt.empty()) {
    problems.add("--prompt and --prompts-file {} are both given; give one", *flags.prompts_file);
  }
  if (flags.interactive && flags.has_prompts()) {
    problems.add(
        "--interactive reads its prompts from standard input; leave out --prompt and "
        "--prompts-file");
  }
  if (!flags.has_prompts() && world_size == 1 && ::isatty(STDIN_FILENO)) flags.interactive = true;
  if (!flags.has_prompts() && !flags.interactive && !problems.was_refused("prompt")) {
    problems.add(
        "no prompt: give --prompt TEXT or --prompts-file FILE, or --interactive to read "
        "them from standard input");
  }
  if (flags.output) {
    if (const auto why = why_no_file(*flags.output)) {
      problems.add("--output {} cannot be written: {}", *flags.output, *why);
    }
  }
  if (flags.interactive && flags.output) {
    problems.add("--output {} needs --prompt or --prompts-file: a conversation is shown, not kept",
                 *flags.output);
  }
}

/// What the checkpoint recorded, where the flags say nothing else.
TokenizerConfig tokenizer_of(const TokenizerConfig& given, const Checkpoint& checkpoint) {
  TokenizerConfig config;
  const auto stored = checkpoint.meta().find("tokenizer");
  if (stored != checkpoint.meta().end() && stored->is_object()) {
    fields_from_json(config.fields(), *stored, checkpoint.folder());
  }
  if (given.tokenizer_type && given.tokenizer_type != config.tokenizer_type) config = {};
  if (given.tokenizer_type) config.tokenizer_type = given.tokenizer_type;
  if (given.vocab_size) config.vocab_size = given.vocab_size;
  Problems problems;
  const auto use_file = [&](const char* flag, const std::optional<std::string>& file,
                            std::optional<std::string>& recorded) {
    if (recorded && recorded->empty()) recorded.reset();
    if (file) recorded = file;
    if (!file && recorded && !std::filesystem::exists(*recorded)) {
      problems.add("{}: the checkpoint's tokenizer file is no longer there ({}); give --{}",
                   *recorded, checkpoint.folder(), flag);
    }
  };
  use_file("vocab-file", given.vocab_file, config.vocab_file);
  use_file("merge-file", given.merge_file, config.merge_file);
  use_file("tokenizer-model", given.tokenizer_model, config.tokenizer_model);
  problems.raise_if_any();
  return config;
}

at::ScalarType compute_type(const GenerateFlags& flags, const Checkpoint& checkpoint) {
  if (flags.fp32) return at::kFloat;
  if (flags.bf16) return at::kBFloat16;
  if (flags.fp16) return at::kHalf;
  return weights_dtype(checkpoint);
}

/// What must be the same on every rank.
std::string comparable(const GenerateFlags& flags, const std::vector<std::string>& prompts,
                       SamplingConfig& sampling, GenerateOptions& options,
                       const Checkpoint& checkpoint) {
  return fmt::format("{} {} {} {} {} {} {} {}", flags.interactive, flags.fp32, flags.bf16,
                     flags.fp16, sha256_hex(fmt::format("{}", fmt::join(prompts, "\n"))),
                     fields_to_json(sampling.fields()).dump(),
                     fields_to_json(options.fields()).dump(), checkpoint.iteration());
}

}  // namespace

int run_generate(const Words& words) {
  GenerateFlags flags;
  SamplingConfig sampling;
  GenerateOptions options;
  TokenizerConfig given_tokenizer;
  DistributedConfig distributed_config;
  CommandLine command(
      "megalith generate",
      "Continues prompts with a trained model, on any number of ranks whatever number trained it. "
      "Stops at the end-of-text or after --max-new-tokens. Without --prompt or --prompts-file it "
      "reads prompts from the terminal; ctrl-D ends.");
  command.section("Model", flags.model_fields());
  command.section("Text", flags.text_fields());
  command.section("Sampling", sampling.fields());
  command.section("Batches", options.fields());
  command.section("Tokenizer (default: the checkpoint's)", given_tokenizer.fields());
  command.section("Parallelism", distributed_config.fields());
  command.foreign(foreign_flags());
  command.run_file();
  command.epilogue(
      "Examples:\n"
      "  megalith generate --load checkpoints --prompt \"To be, or not\" --top-p 0.9\n"
      "  megalith launch --nproc-per-node 2 generate --tensor-model-parallel-size 2 \\\n"
      "    --load checkpoints --prompts-file prompts.txt --output out.jsonl");

  const LaunchEnvironment environment = read_launch_environment();
  Problems problems;
  if (!command.parse(words, problems, environment.rank == 0)) return 0;
  check_flags(flags, environment.world_size, problems);
  sampling.check(problems);
  distributed_config.check(environment, problems);
  problems.raise_if_any();

  const Checkpoint checkpoint = Checkpoint::open(*flags.load, flags.ckpt_step);
  const ModelConfig config = model_config_from(checkpoint);
  config.check(distributed_config.tensor_model_parallel_size, problems);
  const auto tokenizer = make_tokenizer(tokenizer_of(given_tokenizer, checkpoint));
  if (tokenizer->vocab_size() != config.vocab_size) {
    problems.add(
        "the tokenizer has {} entries and the model of {} has {}; give the flags of the "
        "tokenizer it was trained with",
        tokenizer->vocab_size(), checkpoint.folder(), config.vocab_size);
  }
  const auto prompts = flags.prompts_file ? read_prompts(*flags.prompts_file) : flags.prompt;
  options.end_of_text = tokenizer->eod();
  std::vector<TokenIds> ids;
  for (const auto& prompt : prompts) ids.push_back(tokenizer->encode(prompt));
  if (problems.empty()) check_prompts(config, ids, sampling, options, problems);
  problems.raise_if_any();

  use_batch_scheduling();
  Distributed distributed(distributed_config, environment);
  distributed.require_same("what to generate",
                           comparable(flags, prompts, sampling, options, checkpoint));
  distributed.run([&] {
    GptModel model(config, distributed.groups(), compute_type(flags, checkpoint),
                   distributed.device(), /*seed=*/0);
    load_weights(checkpoint, model);
    PromptSession session(model, distributed, *tokenizer, sampling, options);
    if (flags.interactive) {
      session.converse();
    } else {
      session.answer(prompts, flags.output.value_or(""));
    }
  });
  return 0;
}

}  // namespace megalith::cli

// megalith generate: continue prompts with a trained model. Flags, tokenizer and weights; the text
// goes through prompt_session, tokens through generation/generator. Never runs on random weights.
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/process_settings.hpp"
#include "cli/prompt_session.hpp"
#include "cli/trained_model.hpp"
#include "megalith/core/digest.hpp"
#include "megalith/core/output_path.hpp"

namespace megalith::cli {
namespace {

struct GenerateFlags {
  TrainedModelFlags model;
  std::optional<std::string> prompts_file, output;
  std::vector<std::string> prompt;
  bool interactive = false;

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
  std::vector<ForeignFlag> flags = model_shape_flags();
  const std::vector<ForeignFlag> own{
      {"top_k", Kind::kOldSpelling, "top-k", 1},
      {"top_p", Kind::kOldSpelling, "top-p", 1},
      {"prompts", Kind::kOldSpelling, "prompt", -1},
      {"num-tokens-to-generate", Kind::kOldSpelling, "max-new-tokens", 1},
      {"out-seq-length", Kind::kRefused, "give the number of new tokens by --max-new-tokens", 1},
  };
  flags.insert(flags.end(), own.begin(), own.end());
  return flags;
}

void check_flags(GenerateFlags& flags, int64_t world_size, Problems& problems) {
  flags.model.check(problems);
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

/// What must be the same on every rank.
std::string comparable(const GenerateFlags& flags, const std::vector<std::string>& prompts,
                       SamplingConfig& sampling, GenerateOptions& options,
                       const TrainedModel& trained) {
  return fmt::format("{} {} {} {} {}", flags.interactive, trained.comparable(),
                     sha256_hex(fmt::format("{}", fmt::join(prompts, "\n"))),
                     fields_to_json(sampling.fields()).dump(),
                     fields_to_json(options.fields()).dump());
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
  command.section("Model", flags.model.fields());
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

  const TrainedModel trained = open_trained_model(
      flags.model, given_tokenizer, distributed_config.tensor_model_parallel_size, problems);
  const Tokenizer& tokenizer = *trained.tokenizer;
  const auto prompts = flags.prompts_file ? read_prompts(*flags.prompts_file) : flags.prompt;
  options.end_of_text = tokenizer.eod();
  options.num_ids = tokenizer.vocab_size();
  std::vector<TokenIds> ids;
  for (const auto& prompt : prompts) ids.push_back(tokenizer.encode(prompt));
  if (problems.empty()) check_prompts(trained.config, ids, sampling, options, problems);
  problems.raise_if_any();

  use_batch_scheduling();
  Distributed distributed(distributed_config, environment);
  distributed.require_same("what to generate",
                           comparable(flags, prompts, sampling, options, trained));
  distributed.run([&] {
    const GptModel model = trained.load(distributed);
    PromptSession session(model, distributed, tokenizer, sampling, options);
    if (flags.interactive) {
      session.converse();
    } else {
      session.answer(prompts, flags.output.value_or(""));
    }
  });
  return 0;
}

}  // namespace megalith::cli

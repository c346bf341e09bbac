// megalith: one binary, one subcommand a file. This file only picks the subcommand and turns
// exceptions into one message and an exit status: 0 success, 2 a mistake in flags, files or
// configuration, 1 a failure while running.
#include <c10/util/Logging.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <thread>

#include "cli/commands.hpp"
#include "megalith/core/error.hpp"
#include "megalith/core/fields.hpp"
#include "megalith/parallel/collectives.hpp"

namespace megalith::cli {
namespace {

struct Command {
  const char* name;
  int (*run)(const Words&);
  const char* summary;
};

// clang-format off
constexpr Command kCommands[] = {
    {"preprocess", run_preprocess, "turn text into an indexed dataset of token ids"},
    {"pretrain",   run_pretrain,   "train a model: megalith pretrain gpt ..."},
    {"finetune",   run_finetune,   "train a pretrained BERT on a task: MNLI, SQuAD, RACE, ..."},
    {"generate",   run_generate,   "continue prompts with a trained model"},
    {"embed",      run_embed,      "vectors or hidden states of texts, by a BERT"},
    {"evaluate",   run_evaluate,   "measure a trained model: perplexity, LAMBADA, choices"},
    {"tokenize",   run_tokenize,   "text to token ids and back"},
    {"data",       run_data,       "look at, check, merge and index datasets"},
    {"checkpoint", run_checkpoint, "look at checkpoints"},
    {"launch",     run_launch,     "start several ranks of a subcommand on this machine"},
    {"doctor",     run_doctor,     "say what this machine offers to megalith"},
};
// clang-format on

void print_help(FILE* out) {
  fmt::print(out,
             "megalith trains GPT-2-like transformers with tensor and data parallelism,\n"
             "after the paper Megatron-LM (Shoeybi et al., 2019).\n\n"
             "Usage: megalith SUBCOMMAND [flags]\n\nSubcommands:\n");
  for (const auto& command : kCommands) {
    fmt::print(out, "  {:<12}{}\n", command.name, command.summary);
  }
  fmt::print(out, "  {:<12}this text; megalith SUBCOMMAND --help lists the flags\n", "help");
}

int run(const Words& words) {
  if (words.empty()) {
    print_help(stderr);
    return 2;
  }
  if (words[0] == "help" || words[0] == "--help" || words[0] == "-h") {
    if (words.size() > 1) {
      Words asked(words.begin() + 1, words.end());
      const bool about_itself = asked[0] == "help" || asked[0].starts_with("-");
      if (!about_itself) {
        asked.push_back("--help");
        return run(asked);
      }
    }
    print_help(stdout);
    return 0;
  }
  if (words[0] == "--version" || words[0] == "version") {
    fmt::print("megalith {}\n", MEGALITH_VERSION);
    return 0;
  }
  std::vector<std::string> names;
  for (const auto& command : kCommands) {
    if (words[0] == command.name) return command.run(Words(words.begin() + 1, words.end()));
    names.emplace_back(command.name);
  }
  const std::string near = nearest_name(words[0], names);
  throw UsageError("unknown subcommand '{}'{}", words[0],
                   near.empty() ? "; see megalith help" : "; did you mean " + near + "?");
}

/// Ends the process after an error. Not by exit(): a lost rank may have left threads of the
/// backends behind, which would race with the destruction of what they use.
[[noreturn]] void end(int status) {
  std::fflush(nullptr);
  std::_Exit(status);
}

constexpr const char* kOutOfMemory =
    "out of memory; use a smaller model or batch (pretrain --dry-run tells what a run needs)";

std::string text_for_people(const std::exception& error) {
  const std::string text = plain_message(error);
  return text.find("can't allocate memory") != std::string::npos ? kOutOfMemory : text;
}

/// c10d's warnings and errors carry stack traces and repeat what our own messages say. The variable
/// brings them back.
void quiet_libtorch() {
  constexpr int kFatal = 3;
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = kFatal;
}

/// Most mistakes are the same on every rank; a launcher ends the others once rank 0 has told of
/// them. What only this rank met comes out a moment later.
void let_rank_zero_speak_first() {
  const char* rank = std::getenv("RANK");
  if (rank == nullptr || std::string(rank) == "0") return;
  std::this_thread::sleep_for(std::chrono::seconds(2));
}

/// What did not reach a full disk must not end in success.
void finish_standard_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw RunError(system_error_text("standard output", "write"));
  }
}

}  // namespace
}  // namespace megalith::cli

int main(int argc, char** argv) {
  megalith::cli::quiet_libtorch();
  try {
    const int status = megalith::cli::run({argv + 1, argv + argc});
    megalith::cli::finish_standard_output();
    return status;
  } catch (const megalith::UsageError& error) {
    megalith::cli::let_rank_zero_speak_first();
    fmt::print(stderr, "megalith: {}\n", error.what());
    megalith::cli::end(2);
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "megalith: {}\n", megalith::cli::kOutOfMemory);
    megalith::cli::end(1);
  } catch (const std::exception& error) {
    fmt::print(stderr, "megalith: {}\n", megalith::cli::text_for_people(error));
    megalith::cli::end(1);
  }
}

// megalith preprocess: text to indexed datasets. Flags, signals and what the screen shows; the work
// is data/preprocess.
#include <algorithm>
#include <cstdio>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/interrupt.hpp"
#include "cli/progress_line.hpp"
#include "megalith/core/output_path.hpp"
#include "megalith/data/preprocess.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith::cli {
namespace {

using Kind = ForeignFlag::Kind;

constexpr int64_t kMaxBadLinesShown = 10;
constexpr double kMegabyte = 1024.0 * 1024.0;  // as upstream counts

std::vector<ForeignFlag> foreign_flags() {
  return {
      {"partitions", Kind::kIgnored, "one run reads everything; order never depends on it", 1},
      {"keep-sequential-samples", Kind::kIgnored, "the order of the documents is always kept"},
      {"make-vocab-size-divisible-by", Kind::kIgnored, "ids do not depend on padding", 1},
      {"dataset-impl", Kind::kRefused, "only the mmap format is written", 1, "mmap"},
      {"find-optimal-num-workers", Kind::kRefused,
       "the default, one worker a core, is a good choice"},
      {"workers-to-check", Kind::kIgnored, "the number of workers is not searched for", -1},
      {"max-documents", Kind::kIgnored, "the number of workers is not searched for", 1},
      {"performance-dir", Kind::kIgnored, "the number of workers is not searched for", 1},
      {"vocab", Kind::kOldSpelling, "vocab-file", 1},
  };
}

std::string rate_text(const PreprocessProgress& progress) {
  const double seconds = std::max(progress.seconds, 1e-9);
  return fmt::format("{:.1f} docs/s, {:.2f} MB/s",
                     static_cast<double>(progress.documents) / seconds,
                     static_cast<double>(progress.text_bytes) / kMegabyte / seconds);
}

/// ", 40%, 12 s left", or nothing when the size of the input is not known.
std::string left_text(const PreprocessProgress& progress) {
  if (progress.input_bytes <= 0 || progress.input_bytes > progress.input_bytes_total) return "";
  const double done =
      static_cast<double>(progress.input_bytes) / static_cast<double>(progress.input_bytes_total);
  return fmt::format(", {:.0f}%, {} left", 100 * done,
                     duration_text(progress.seconds * (1 - done) / done));
}

void print_summary(const PreprocessConfig& config, const PreprocessProgress& progress) {
  fmt::print("{} documents ({} without a token), {} tokens\n", progress.documents,
             progress.empty_documents, progress.tokens);
  if (config.skip_bad_lines) fmt::print("{} broken lines left out\n", progress.bad_lines);
  fmt::print("{} bytes of text in {:.1f} s: {}\n", progress.text_bytes, progress.seconds,
             rate_text(progress));
  for (const auto& prefix : config.output_prefixes()) fmt::print("wrote {}.bin and .idx\n", prefix);
}

PreprocessProgress run_with_progress(const PreprocessConfig& config, const Tokenizer& tokenizer) {
  ProgressLine line;
  const InterruptFlag interrupt;
  PreprocessHooks hooks;
  hooks.stop = &interrupt.raised();
  hooks.on_notice = [&](const std::string& text) { line.print("notice: " + text); };
  int64_t bad_lines = 0;
  hooks.on_bad_line = [&](const std::string& text) {
    if (++bad_lines <= kMaxBadLinesShown) line.print("left out: " + text);
    if (bad_lines == kMaxBadLinesShown)
      line.print("left out: further broken lines are only counted");
  };
  hooks.on_document = [&](const PreprocessProgress& progress) {
    const bool log_now = !line.on_terminal() && progress.documents % config.log_interval == 0;
    if (!log_now && !line.due()) return;
    const std::string text = fmt::format("processed {} documents ({}){}", progress.documents,
                                         rate_text(progress), left_text(progress));
    if (log_now) {
      line.print(text);
    } else {
      line.show(text);
    }
  };
  return preprocess(config, tokenizer, hooks);
}

}  // namespace

int run_preprocess(const Words& words) {
  PreprocessConfig config;
  TokenizerConfig tokenizer_config;
  CommandLine command("megalith preprocess",
                      "Tokenize text into indexed datasets (PREFIX_<key>_document.bin and .idx).");
  command.section("Input and output", config.fields());
  command.section("Tokenizer", tokenizer_config.fields());
  command.foreign(foreign_flags());
  command.run_file();
  command.epilogue(
      "Example:\n"
      "  megalith preprocess --input corpus.jsonl.zst --output-prefix data/corpus \\\n"
      "      --tokenizer-type GPT2BPETokenizer --vocab-file vocab.json \\\n"
      "      --merge-file merges.txt --append-eod");
  Problems problems;
  if (!command.parse(words, problems)) return 0;
  config.check(problems);
  check_tokenizer_config(tokenizer_config, problems);
  check_tokenizer_files(tokenizer_config, problems);
  if (!config.output_prefix.empty()) {
    if (const auto why = why_no_file(config.output_prefixes().front() + ".idx")) {
      problems.add("--output-prefix {} cannot be written: {}", config.output_prefix, *why);
    }
  }
  problems.raise_if_any();
  const auto tokenizer = make_tokenizer(tokenizer_config);
  for (const auto& notice : tokenizer->notices()) fmt::print(stderr, "notice: {}\n", notice);
  if (tokenizer->name().starts_with("Bert") && !config.split_sentences) {
    fmt::print(stderr, "notice: BERT is trained on sentences; --split-sentences is not given\n");
  }
  print_summary(config, run_with_progress(config, *tokenizer));
  return 0;
}

}  // namespace megalith::cli

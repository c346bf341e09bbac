// megalith tokenize: text to token ids and back, for looking at a vocabulary and for comparing with
// other tokenizers. Only flags here; the work is megalith/tokenizer/tokenize_file.hpp.
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "megalith/core/output_path.hpp"
#include "megalith/tokenizer/tokenize_file.hpp"

namespace megalith::cli {

int run_tokenize(const Words& words) {
  TokenizeOptions options;
  TokenizerConfig tokenizer_config;
  std::vector<std::string> files;
  CommandLine command("megalith tokenize",
                      "Turns text into token ids, or ids into text. Reads FILE, or standard input, "
                      "as one text and prints one JSON array. No special tokens are added, and "
                      "none recognised but those that a tokenizer.json lists; ill-formed UTF-8 "
                      "becomes U+FFFD.");
  command.positional("FILE", files, "the input; standard input when absent or -", 0, 1);
  command.section("Input and output", options.fields());
  command.section("Tokenizer", tokenizer_config.fields());
  command.epilogue(
      "Examples:\n"
      "  echo 'Hello world' | megalith tokenize --tokenizer-type GPT2BPETokenizer \\\n"
      "      --vocab-file assets/gpt2/vocab.json --merge-file assets/gpt2/merges.txt\n"
      "  megalith tokenize book.txt --tokenizer-type HuggingFaceTokenizer \\\n"
      "      --tokenizer-model FOLDER/tokenizer.json --output book.u16\n"
      "  megalith tokenize --decode book.u16 ...");
  Problems problems;
  if (!command.parse(words, problems)) return 0;
  check_tokenizer_config(tokenizer_config, problems);
  check_tokenizer_files(tokenizer_config, problems);
  if (options.output) {
    if (const auto why = why_no_file(*options.output)) {
      problems.add("--output {} cannot be written: {}", *options.output, *why);
    }
  }
  if (files.size() > 1) problems.add("one FILE at a time, got {}", fmt::join(files, ", "));
  if (command.given("ids") && !options.decode) {
    problems.add("--ids says what --decode reads; add --decode, or leave it out");
  }
  if (options.decode && options.lines && options.ids == IdFormat::kBinary) {
    problems.add("--ids binary has no lines; leave out --lines");
  }
  problems.raise_if_any();

  const auto tokenizer = make_tokenizer(tokenizer_config);
  for (const auto& notice : tokenizer->notices()) fmt::print(stderr, "notice: {}\n", notice);
  tokenize_file(*tokenizer, options, files.empty() ? "" : files[0]);
  return 0;
}

}  // namespace megalith::cli

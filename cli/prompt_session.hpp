// Text in, text out around generation: prompts to ids, continuations to the screen or a file.
//
// Every rank holds one and calls the same; only world rank 0 reads standard input and writes. Flags
// and the loading of the model are generate.cpp's, tokens are generation/generator.hpp's.
#pragma once

#include <string>
#include <vector>

#include "megalith/generation/generator.hpp"
#include "megalith/parallel/distributed.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith::cli {

/// The lines of a file, ended by LF; the last one counts without it too. Throws UsageError.
std::vector<std::string> read_prompts(const std::string& path);

class PromptSession {
 public:
  /// Keeps references; `options` holds the tokenizer's end of text.
  PromptSession(const GptModel& model, Distributed& distributed, const Tokenizer& tokenizer,
                const SamplingConfig& sampling, const GenerateOptions& options);

  /// Continues all prompts; then JSON lines into `output`, or text on standard output when it is
  /// empty. Throws UsageError, RunError. Communicates: world.
  void answer(const std::vector<std::string>& prompts, const std::string& output);

  /// A prompt a line from standard input until its end, the continuation shown as it is written.
  /// A prompt that cannot be continued gets a message. Communicates: world.
  void converse();

 private:
  void print_plain(const std::vector<Continuation>& results, const std::vector<TokenIds>& ids,
                   size_t num_prompts) const;
  void write_json_lines(const std::vector<Continuation>& results,
                        const std::vector<std::string>& prompts, const std::string& output) const;
  /// The next line of rank 0's standard input, on every rank; false at its end.
  bool next_line(std::string& line);

  const GptModel& model_;
  Distributed& distributed_;
  const Tokenizer& tokenizer_;
  const SamplingConfig& sampling_;
  GenerateOptions options_;
  int64_t num_lines_ = 0;
};

}  // namespace megalith::cli

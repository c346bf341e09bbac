#include "cli/prompt_session.hpp"

#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/progress_line.hpp"
#include "megalith/core/atomic_file.hpp"
#include "megalith/parallel/collectives.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith::cli {
namespace {

void print_now(const std::string& text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!written || std::fflush(stdout) != 0)
    throw RunError(system_error_text("standard output", "write"));
}

/// Shows text as its tokens come: a character whose bytes are not all there waits for the rest.
class StreamedText {
 public:
  explicit StreamedText(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void show(const TokenIds& tokens) {
    const std::string bytes = tokenizer_.decode_bytes(tokens);
    print_up_to(bytes, bytes.size() - unicode::incomplete_tail(bytes));
  }
  /// The rest and a line end; the next text may follow.
  void end(const TokenIds& tokens) {
    const std::string bytes = tokenizer_.decode_bytes(tokens);
    print_up_to(bytes, bytes.size());
    print_now("\n");
    shown_ = 0;
  }

 private:
  void print_up_to(const std::string& bytes, size_t end) {
    if (end <= shown_) return;
    std::string repaired;
    print_now(std::string(
        unicode::well_formed(std::string_view(bytes).substr(shown_, end - shown_), repaired)));
    shown_ = end;
  }
  const Tokenizer& tokenizer_;
  size_t shown_ = 0;
};

/// Counts tokens on a terminal while nothing else can be seen.
class TokenProgress {
 public:
  void count() {
    ++tokens_;
    if (!line_.on_terminal() || !line_.due()) return;
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
    line_.show(fmt::format("{} tokens, {:.1f} a second", tokens_,
                           static_cast<double>(tokens_) / passed.count()));
  }

 private:
  ProgressLine line_;
  int64_t tokens_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Rank 0's bytes on every rank. Communicates: world.
void share(std::string& text, const Group& world, at::Device device) {
  at::Tensor length = at::full({1}, static_cast<int64_t>(text.size()), at::kLong).to(device);
  broadcast(length, world, 0);
  text.resize(static_cast<size_t>(length.item<int64_t>()));
  if (text.empty()) return;
  const auto bytes = at::from_blob(text.data(), {static_cast<int64_t>(text.size())}, at::kByte);
  at::Tensor payload = bytes.to(device, /*non_blocking=*/false, /*copy=*/true);
  broadcast(payload, world, 0);
  bytes.copy_(payload);
}

}  // namespace

std::vector<std::string> read_prompts(const std::string& path) {
  const std::string text = read_text_file(path);
  std::vector<std::string> prompts;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    prompts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  if (prompts.empty()) throw UsageError("{}: has no line; give one prompt a line", path);
  return prompts;
}

PromptSession::PromptSession(const GptModel& model, Distributed& distributed,
                             const Tokenizer& tokenizer, const SamplingConfig& sampling,
                             const GenerateOptions& options)
    : model_(model),
      distributed_(distributed),
      tokenizer_(tokenizer),
      sampling_(sampling),
      options_(options) {}

void PromptSession::answer(const std::vector<std::string>& prompts, const std::string& output) {
  std::vector<TokenIds> ids;
  for (const auto& prompt : prompts) ids.push_back(tokenizer_.encode(prompt));
  const bool first = distributed_.groups().world_rank() == 0;
  std::vector<Continuation> results;
  {
    TokenProgress progress;
    results =
        generate(model_, distributed_.groups(), ids, sampling_, options_, [&](const Continuation&) {
          if (first) progress.count();
        });
  }
  if (!first) return;
  if (output.empty()) {
    print_plain(results, ids, prompts.size());
  } else {
    write_json_lines(results, prompts, output);
  }
}

void PromptSession::print_plain(const std::vector<Continuation>& results,
                                const std::vector<TokenIds>& ids, size_t num_prompts) const {
  std::string text;
  for (const auto& result : results) {
    if (results.size() > 1) {
      text += fmt::format("--- prompt {} of {}, sample {} of {} ---\n", result.prompt + 1,
                          num_prompts, result.sample + 1, sampling_.num_samples);
    }
    TokenIds all = ids[result.prompt];
    all.insert(all.end(), result.tokens.begin(), result.tokens.end());
    text += tokenizer_.decode(all) + "\n";
  }
  print_now(text);
}

void PromptSession::write_json_lines(const std::vector<Continuation>& results,
                                     const std::vector<std::string>& prompts,
                                     const std::string& output) const {
  AtomicFile file(output);
  for (const auto& result : results) {
    nlohmann::ordered_json line;
    line["prompt"] = prompts[result.prompt];
    line["sample"] = result.sample;
    line["text"] = tokenizer_.decode(result.tokens);
    line["tokens"] = result.tokens;
    line["ended"] = result.ended;
    file.write(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  file.commit();
  fmt::print("wrote {}: {} continuation(s) of {} prompt(s)\n", output, results.size(),
             prompts.size());
}

bool PromptSession::next_line(std::string& line) {
  // The others wait in the store, since a person may take longer than a collective's time-out.
  bool there = true;
  distributed_.on_first_rank(fmt::format("prompt {}", ++num_lines_), [&] {
    if (::isatty(STDIN_FILENO)) print_now("> ");
    there = static_cast<bool>(std::getline(std::cin, line));
    if (!there && ::isatty(STDIN_FILENO)) print_now("\n");
    line.insert(line.begin(), there ? '+' : '-');
  });
  share(line, distributed_.groups().world(), distributed_.device());
  there = line[0] == '+';
  line.erase(line.begin());
  return there;
}

void PromptSession::converse() {
  const bool first = distributed_.groups().world_rank() == 0;
  GenerateOptions one_by_one = options_;
  one_by_one.micro_batch_size = 1;  // samples one after the other, so that each can be watched
  bool has_prompts = false;
  for (std::string line; next_line(line);) {
    has_prompts = true;
    std::vector<TokenIds> ids;
    Problems problems;
    try {
      ids.push_back(tokenizer_.encode(line));
    } catch (const UsageError& error) {
      problems.add("{}", error.what());
    }
    check_prompts(model_.config(), ids, sampling_, one_by_one, problems);
    if (!problems.empty()) {
      if (first) fmt::print(stderr, "{}\n", fmt::join(problems.texts(), "\n"));
      continue;
    }
    StreamedText text(tokenizer_);
    TokenIds shown;
    int64_t sample = 0;
    const auto end_samples_before = [&](int64_t next) {
      for (; sample < next; ++sample) {
        text.end(shown);
        shown.clear();
      }
    };
    const auto show = [&](const Continuation& row) {
      end_samples_before(row.sample);
      shown = row.tokens;
      text.show(shown);
    };
    generate(model_, distributed_.groups(), ids, sampling_, one_by_one,
             first ? TokenCallback(show) : TokenCallback());
    if (first) end_samples_before(sampling_.num_samples);
  }
  if (!first || has_prompts || ::isatty(STDIN_FILENO)) return;
  throw UsageError(
      "standard input holds no prompt; megalith launch does not pass a terminal on: pipe the "
      "prompts in, a line each, or give --prompt or --prompts-file");
}

}  // namespace megalith::cli

// megalith evaluate wikitext103 and perplexity: a text or dataset in sliding windows.
#include <algorithm>

#include "cli/evaluation.hpp"
#include "megalith/core/digest.hpp"
#include "megalith/tasks/text_source.hpp"
#include "megalith/tasks/wikitext.hpp"

namespace megalith::cli {
namespace {

constexpr int64_t kUsualStride = 32;

Field stride_field(std::optional<int64_t>& stride) {
  return {"overlapping-eval", &stride,
          "The window moves on by this many tokens and scores as many; the window's length gives "
          "chunks that do not overlap.",
          at_least(1), "32, or the window where that is shorter"};
}

SlidingWindows windows_of(Evaluation& evaluation, std::optional<int64_t> stride) {
  const int64_t window = evaluation.window();
  if (stride && evaluation.has_model() && *stride > window) {
    evaluation.problems().add(
        "--overlapping-eval {} is longer than the window of {} (--seq-length): tokens between two "
        "windows would not be scored; give at most {}",
        *stride, window, window);
  }
  return {window, stride.value_or(std::min(kUsualStride, window))};
}

void check_length(const TokenStream& stream, const std::string& data) {
  if (stream.size() >= 2) return;
  throw UsageError("{}: has {} token(s); two are needed, one to look at and one to predict", data,
                   stream.size());
}

/// What every rank must have read alike.
std::string comparable(const TokenStream& stream, const SlidingWindows& windows) {
  return fmt::format("{} tokens, stride {}", stream.size(), windows.stride);
}

/// The documents of JSON lines, each ended by the end-of-text where the vocabulary has one.
std::vector<int32_t> encode_json_lines(const TextSource& source, const Tokenizer& tokenizer,
                                       const std::vector<std::string>& keys) {
  std::vector<int32_t> ids;
  std::string text;
  read_texts(source, {.json_keys = keys,
                      .on_piece = [&](std::string_view piece) { text += piece; },
                      .on_end =
                          [&] {
                            tokenizer.append_ids(text, ids);
                            if (tokenizer.eod()) ids.push_back(*tokenizer.eod());
                            text.clear();
                          }});
  return ids;
}

std::unique_ptr<TokenStream> open_stream(const TextSource& source, const Evaluation& evaluation,
                                         const std::vector<std::string>& keys) {
  switch (source.kind) {
    case SourceKind::kDataset:
      return open_token_stream(source.path, evaluation.model_config().vocab_size);
    case SourceKind::kJsonLines:
      return make_token_stream(encode_json_lines(source, evaluation.tokenizer(), keys));
    case SourceKind::kText:
      break;
  }
  return make_token_stream(evaluation.tokenizer().encode(read_whole_text(source.path)));
}

}  // namespace

int run_evaluate_wikitext103(const Words& words) {
  std::optional<int64_t> stride;
  Evaluation evaluation(
      "wikitext103",
      "Perplexity on WikiText-103 as the Megatron-LM paper counts it: the tokenised file is turned "
      "back into ordinary text, windows overlap, and the sum is divided by the words of the file.",
      "The tokenised file, wiki.test.tokens.");
  evaluation.add_flags({stride_field(stride)}, {},
                       "Example:\n"
                       "  megalith evaluate wikitext103 --load checkpoints \\\n"
                       "    --data wikitext-103/wiki.test.tokens --report wikitext.json");
  if (!evaluation.parse(words)) return 0;
  std::string text;
  if (evaluation.has_data()) {
    evaluation.problems().collect([&] { text = read_whole_text(evaluation.data()); });
  }
  evaluation.open_model();
  const SlidingWindows windows = windows_of(evaluation, stride);
  evaluation.problems().raise_if_any();

  const int64_t original_tokens = count_original_tokens(text);
  const auto stream =
      make_token_stream(evaluation.tokenizer().encode(detokenize_wikitext(std::move(text))));
  check_length(*stream, evaluation.data());
  if (original_tokens < 2) throw UsageError("{}: has one word; give a text", evaluation.data());
  evaluation.run(
      comparable(*stream, windows), [&](const GptModel& model, const ProcessGroups& groups,
                                        const ScoringOptions& options, Report& report) {
        report.add("overlapping_eval", windows.stride, "new targets of a window");
        add_wikitext(report, evaluate_perplexity(model, groups, *stream, windows, options),
                     original_tokens);
      });
  return 0;
}

int run_evaluate_perplexity(const Words& words) {
  std::optional<int64_t> stride;
  std::vector<std::string> json_keys{"text"};
  Evaluation evaluation(
      "perplexity",
      "Perplexity of a text or an indexed dataset as one stream of tokens: each token after the "
      "first is scored once, in windows that overlap.",
      "A text file, JSON lines, or the prefix of an indexed dataset.");
  evaluation.add_flags(
      {stride_field(stride),
       {"json-keys", &json_keys, "The keys of JSON lines whose texts are taken."}},
      {},
      "Example:\n"
      "  megalith launch --nproc-per-node 2 evaluate perplexity --load checkpoints \\\n"
      "    --data held_out_text_document --overlapping-eval 1024");
  if (!evaluation.parse(words)) return 0;
  TextSource source;
  if (evaluation.has_data()) {
    source = describe_source(evaluation.data(), "data", evaluation.problems());
  }
  evaluation.open_model();
  const SlidingWindows windows = windows_of(evaluation, stride);
  evaluation.problems().raise_if_any();

  const auto stream = open_stream(source, evaluation, json_keys);
  check_length(*stream, evaluation.data());
  evaluation.run(
      comparable(*stream, windows), [&](const GptModel& model, const ProcessGroups& groups,
                                        const ScoringOptions& options, Report& report) {
        report.add("overlapping_eval", windows.stride, "new targets of a window");
        add_perplexity(report, evaluate_perplexity(model, groups, *stream, windows, options));
      });
  return 0;
}

}  // namespace megalith::cli

#include "megalith/tasks/cloze.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "megalith/tasks/finetune/read_report.hpp"

namespace megalith {
namespace {

// As Python's split() and strip() for texts of ASCII spaces, which LAMBADA's are.
constexpr std::string_view kSpaces = " \t\n\v\f\r";

/// Long rows first, so that the rows of a batch are of about one length.
std::vector<int64_t> by_length(const std::vector<Continuing>& examples) {
  std::vector<int64_t> order(examples.size());
  std::iota(order.begin(), order.end(), 0);
  const auto length = [&](int64_t i) {
    return ssize(examples[i].context) + ssize(examples[i].target);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return length(a) > length(b); });
  return order;
}

ScoringRow row_of(const Continuing& example) {
  std::vector<int32_t> tokens = example.context;
  tokens.insert(tokens.end(), example.target.begin(), example.target.end());
  return plain_row(std::move(tokens), ssize(example.context) - 1);
}

}  // namespace

Continuing encode_cloze(const ClozeExample& example, const Tokenizer& tokenizer, bool strict) {
  Continuing ids;
  const std::string_view text = example.text;
  if (!strict) {
    ids.context = tokenizer.encode(text);
    if (!ids.context.empty()) {
      ids.target = {ids.context.back()};
      ids.context.pop_back();
    }
  } else {
    const size_t end = text.find_last_not_of(kSpaces);
    if (end == std::string_view::npos) throw UsageError("holds no word");
    const size_t start = text.find_last_of(kSpaces, end) + 1;  // npos + 1 is the beginning
    const std::string_view before = text.substr(0, start);
    const size_t first = before.find_first_not_of(kSpaces);
    if (first != std::string_view::npos) {
      ids.context =
          tokenizer.encode(before.substr(first, before.find_last_not_of(kSpaces) + 1 - first));
    }
    ids.target = tokenizer.encode(" " + std::string(text.substr(start, end + 1 - start)));
  }
  if (ids.target.empty()) throw UsageError("holds no word");
  if (ids.context.empty()) throw UsageError("has nothing before its last word to guess it from");
  return ids;
}

void fit_window(Continuing& continuing, int64_t window) {
  const int64_t target = ssize(continuing.target);
  if (target > window) {
    throw UsageError("{} tokens are to be predicted, more than the window of {} (--seq-length)",
                     target, window);
  }
  // The last token of the target is predicted and not looked at.
  const int64_t excess = ssize(continuing.context) + target - 1 - window;
  if (excess <= 0) return;
  continuing.context.erase(continuing.context.begin(), continuing.context.begin() + excess);
  continuing.truncated = true;
}

std::vector<Continuing> encode_cloze_examples(const std::string& path,
                                              const std::vector<ClozeExample>& examples,
                                              const Tokenizer& tokenizer, bool strict,
                                              int64_t window, Problems& problems) {
  std::vector<Continuing> encoded;
  FileMistakes mistakes(path);
  for (const auto& example : examples) {
    try {
      encoded.push_back(encode_cloze(example, tokenizer, strict));
      fit_window(encoded.back(), window);
    } catch (const UsageError& error) {
      mistakes.add(line_place(example.line), error.what());
    }
  }
  mistakes.add_to(problems);
  return encoded;
}

std::vector<ClozeResult> evaluate_cloze(const GptModel& model, const ProcessGroups& groups,
                                        const std::vector<Continuing>& examples,
                                        ScoringOptions options) {
  const std::vector<int64_t> order = by_length(examples);
  int64_t longest = 0;
  for (const auto& example : examples) longest = std::max(longest, ssize(example.target));
  const int64_t width = longest + 1;
  options.with_likeliest = true;
  std::vector<double> mine;  // lines: the log probability, and the likeliest ids
  const RowSource rows{static_cast<int64_t>(examples.size()),
                       [&](int64_t i) { return row_of(examples[order[i]]); }};
  score_share(model, groups, rows, options, [&](int64_t, std::span<const TokenScore> scores) {
    std::vector<double> line(static_cast<size_t>(width), -1);
    line[0] = 0;
    for (size_t i = 0; i < scores.size(); ++i) {
      line[0] += scores[i].log_probability;
      line[i + 1] = scores[i].likeliest;
    }
    mine.insert(mine.end(), line.begin(), line.end());
  });
  const auto lines = gather_lines(mine, width, rows.size, model, groups);
  std::vector<ClozeResult> results(examples.size());
  for (size_t i = 0; i < order.size(); ++i) {
    const double* const line = lines.data() + static_cast<int64_t>(i) * width;
    const auto& target = examples[order[i]].target;
    ClozeResult& result = results[order[i]];
    result.log_probability = line[0];
    for (int64_t j = 0; j < ssize(target); ++j) {
      result.likeliest.push_back(static_cast<int32_t>(line[j + 1]));
    }
    result.correct = result.likeliest == target;
  }
  return results;
}

void add_cloze(Report& report, const std::vector<Continuing>& examples,
               const std::vector<ClozeResult>& results) {
  const auto count = static_cast<double>(results.size());
  int64_t truncated = 0, tokens = 0, correct = 0;
  double log_probability = 0;
  for (const auto& example : examples) {
    truncated += example.truncated ? 1 : 0;
    tokens += ssize(example.target);
  }
  for (const auto& result : results) {
    correct += result.correct ? 1 : 0;
    log_probability += result.log_probability;
  }
  report.add("examples", results.size(), "texts whose last word is guessed");
  report.add("truncated_examples", truncated, "contexts that lost tokens at their left");
  report.add("tokens", tokens, "sub-words that are guessed");
  report.add("correct", correct, "examples whose guessed sub-words are all the likeliest");
  report.add("accuracy", static_cast<double>(correct) / count, "correct / examples");
  report.add("loss", -log_probability / static_cast<double>(tokens), "-(sum of log P) / tokens");
  report.add("perplexity", std::exp(-log_probability / count),
             "exp(-(sum of log P) / examples): of what is guessed, as one");
}

}  // namespace megalith

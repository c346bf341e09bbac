#include "megalith/tasks/multiple_choice.hpp"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "megalith/tasks/cloze.hpp"
#include "megalith/tasks/finetune/read_report.hpp"

namespace megalith {
namespace {

EncodedChoices encode_one(const ChoiceExample& example, const Tokenizer& tokenizer,
                          const std::string& delimiter, int64_t window) {
  const size_t cut = delimiter.find_last_not_of(' ') + 1;  // npos + 1: spaces alone
  EncodedChoices encoded;
  encoded.gold = example.gold;
  Continuing longest;
  longest.context = tokenizer.encode(example.query + delimiter.substr(0, cut));
  if (longest.context.empty()) {
    if (!tokenizer.eod()) throw UsageError("the query is empty; give a text to start from");
    longest.context = {*tokenizer.eod()};
  }
  for (const auto& choice : example.choices) {
    encoded.choices.push_back(tokenizer.encode(delimiter.substr(cut) + choice));
    encoded.choice_bytes.push_back(ssize(choice));
    if (encoded.choices.back().empty()) throw UsageError("the choice '{}' has no token", choice);
    if (ssize(encoded.choices.back()) > ssize(longest.target)) {
      longest.target = encoded.choices.back();
    }
  }
  fit_window(longest, window);
  encoded.context = std::move(longest.context);
  encoded.truncated = longest.truncated;
  return encoded;
}

/// The context, then what is looked at of each choice: all but its last token.
ScoringRow row_of(const EncodedChoices& example) {
  ScoringRow row;
  row.tokens = example.context;
  bool has_branches = false;
  std::vector<int32_t> branches(row.tokens.size(), 0);
  const int64_t end_of_context = ssize(row.tokens) - 1;
  for (int64_t c = 0; c < ssize(example.choices); ++c) {
    const auto& choice = example.choices[c];
    for (int64_t i = 0; i < ssize(choice); ++i) {
      row.targets.push_back({i == 0 ? end_of_context : ssize(row.tokens) - 1, choice[i]});
      if (i + 1 == ssize(choice)) break;
      row.tokens.push_back(choice[i]);
      branches.push_back(static_cast<int32_t>(c + 1));
      has_branches = true;
    }
  }
  if (has_branches) row.branches = std::move(branches);
  return row;
}

/// Long rows first, and those without branches apart: attention without a mask is faster.
std::vector<int64_t> order_of(const std::vector<EncodedChoices>& examples) {
  std::vector<std::pair<bool, int64_t>> keys;
  for (const auto& example : examples) {
    const ScoringRow row = row_of(example);
    keys.emplace_back(!row.branches.empty(), ssize(row.tokens));
  }
  std::vector<int64_t> order(examples.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return keys[a] > keys[b]; });
  return order;
}

ChoiceResult result_of(const EncodedChoices& example, const double* log_probabilities) {
  ChoiceResult result;
  std::vector<double> by_token, by_byte;
  for (int64_t c = 0; c < ssize(example.choices); ++c) {
    const double sum = log_probabilities[c];
    result.log_probabilities.push_back(sum);
    by_token.push_back(sum / static_cast<double>(example.choices[c].size()));
    by_byte.push_back(sum / static_cast<double>(example.choice_bytes[c]));
  }
  const auto best = [](const std::vector<double>& values) {
    return std::max_element(values.begin(), values.end()) - values.begin();
  };
  result.by_sum = best(result.log_probabilities);
  result.by_token = best(by_token);
  result.by_byte = best(by_byte);
  return result;
}

}  // namespace

std::vector<EncodedChoices> encode_choices(const std::string& path,
                                           const std::vector<ChoiceExample>& examples,
                                           const Tokenizer& tokenizer, const std::string& delimiter,
                                           int64_t window, Problems& problems) {
  std::vector<EncodedChoices> encoded;
  FileMistakes mistakes(path);
  for (const auto& example : examples) {
    try {
      encoded.push_back(encode_one(example, tokenizer, delimiter, window));
    } catch (const UsageError& error) {
      mistakes.add(line_place(example.line), error.what());
    }
  }
  mistakes.add_to(problems);
  return encoded;
}

std::vector<ChoiceResult> evaluate_choices(const GptModel& model, const ProcessGroups& groups,
                                           const std::vector<EncodedChoices>& examples,
                                           const ScoringOptions& options) {
  const std::vector<int64_t> order = order_of(examples);
  int64_t most = 1;
  for (const auto& example : examples) most = std::max(most, ssize(example.choices));
  std::vector<double> mine;  // a line an example: the log probability of each choice
  const RowSource rows{ssize(examples), [&](int64_t i) { return row_of(examples[order[i]]); }};
  score_share(model, groups, rows, options, [&](int64_t i, std::span<const TokenScore> scores) {
    std::vector<double> line(static_cast<size_t>(most), 0);
    size_t next = 0;
    const auto& choices = examples[order[i]].choices;
    for (size_t c = 0; c < choices.size(); ++c) {
      for (size_t t = 0; t < choices[c].size(); ++t) line[c] += scores[next++].log_probability;
    }
    mine.insert(mine.end(), line.begin(), line.end());
  });
  const auto lines = gather_lines(mine, most, rows.size, model, groups);
  std::vector<ChoiceResult> results(examples.size());
  for (int64_t i = 0; i < rows.size; ++i) {
    results[order[i]] = result_of(examples[order[i]], lines.data() + i * most);
  }
  return results;
}

void add_choices(Report& report, const std::vector<EncodedChoices>& examples,
                 const std::vector<ChoiceResult>& results) {
  int64_t truncated = 0, tokens = 0, by_sum = 0, by_token = 0, by_byte = 0;
  for (size_t i = 0; i < examples.size(); ++i) {
    const auto& example = examples[i];
    truncated += example.truncated ? 1 : 0;
    for (const auto& choice : example.choices) tokens += ssize(choice);
    by_sum += results[i].by_sum == example.gold ? 1 : 0;
    by_token += results[i].by_token == example.gold ? 1 : 0;
    by_byte += results[i].by_byte == example.gold ? 1 : 0;
  }
  const auto share = [&](int64_t correct) {
    return static_cast<double>(correct) / static_cast<double>(examples.size());
  };
  report.add("examples", examples.size(), "questions");
  report.add("truncated_examples", truncated, "queries that lost tokens at their left");
  report.add("tokens", tokens, "sub-words of all choices");
  report.add("accuracy", share(by_sum), "share answered right by the largest log P(choice)");
  report.add("accuracy_per_token", share(by_token), "by the largest log P(choice) / its tokens");
  report.add("accuracy_per_byte", share(by_byte), "by the largest log P(choice) / its bytes");
}

}  // namespace megalith

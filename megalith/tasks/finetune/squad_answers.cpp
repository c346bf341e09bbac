#include "megalith/tasks/finetune/squad_answers.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <string_view>

#include "megalith/core/atomic_file.hpp"

namespace megalith {
namespace {

/// A span of a window that may be the answer.
struct Span {
  const SquadWindow* window = nullptr;  // null: no answer
  int64_t start = 0, end = 0;           // places in the window's ids
  double start_logit = 0, end_logit = 0;
  double sum() const { return start_logit + end_logit; }
};

/// Indices of the largest logits, of equals the first.
std::vector<int64_t> largest(std::span<const float> logits, int64_t count) {
  std::vector<int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto end = order.begin() + std::min(count, static_cast<int64_t>(order.size()));
  std::partial_sort(order.begin(), end, order.end(), [&](int64_t a, int64_t b) {
    const float logit_a = logits[static_cast<size_t>(a)], logit_b = logits[static_cast<size_t>(b)];
    return logit_a != logit_b ? logit_a > logit_b : a < b;
  });
  order.erase(end, order.end());
  return order;
}

WindowLogits checked(const SquadWindow& window, const WindowLogits& logits) {
  const size_t size = window.features.ids.size();
  if (logits.start.size() < size || logits.end.size() < size) {
    throw RunError("a window of {} ids has {} start and {} end logits", size, logits.start.size(),
                   logits.end.size());
  }
  const WindowLogits used{logits.start.first(size), logits.end.first(size)};
  const auto is_number = [](float logit) { return std::isfinite(logit); };
  if (!std::all_of(used.start.begin(), used.start.end(), is_number) ||
      !std::all_of(used.end.begin(), used.end.end(), is_number)) {
    throw RunError(
        "the model's logits are not numbers; the training diverged, or the weights are "
        "damaged");
  }
  return used;
}

void add_spans(const SquadWindow& window, const WindowLogits& logits, const SquadConfig& config,
               std::vector<Span>& spans) {
  const auto ends = largest(logits.end, config.n_best_size);
  const int64_t first = window.context_place, last = first + window.num_pieces - 1;
  for (const int64_t start : largest(logits.start, config.n_best_size)) {
    if (start < first || start > last) continue;
    if (!window.has_most_context[static_cast<size_t>(start - first)]) continue;
    for (const int64_t end : ends) {
      if (end < start || end > last || end - start + 1 > config.max_answer_length) continue;
      spans.push_back({&window, start, end, logits.start[static_cast<size_t>(start)],
                       logits.end[static_cast<size_t>(end)]});
    }
  }
}

std::string text_of(const Span& span, const std::string& context,
                    const std::vector<TextPiece>& pieces) {
  if (span.window == nullptr) return "";
  const auto piece = [&](int64_t place) -> const TextPiece& {
    return pieces[static_cast<size_t>(span.window->first_piece + place -
                                      span.window->context_place)];
  };
  const size_t begin = piece(span.start).source.begin, end = piece(span.end).source.end;
  return context.substr(begin, end - begin);
}

void set_probabilities(std::vector<AnswerCandidate>& candidates) {
  double largest_sum = -std::numeric_limits<double>::infinity();
  for (const auto& c : candidates) largest_sum = std::max(largest_sum, c.start_logit + c.end_logit);
  double total = 0;
  for (auto& c : candidates) {
    c.probability = std::exp(c.start_logit + c.end_logit - largest_sum);
    total += c.probability;
  }
  for (auto& c : candidates) c.probability /= total;
}

/// The smallest logits of [CLS] over the windows.
std::optional<Span> no_answer(std::span<const WindowLogits> logits) {
  std::optional<Span> least;
  for (const auto& window : logits) {
    const Span span{nullptr, 0, 0, window.start.front(), window.end.front()};
    if (!least || span.sum() < least->sum()) least = span;
  }
  return least;
}

/// The best candidates of distinct texts.
std::vector<AnswerCandidate> distinct_texts(std::vector<Span> spans, const std::string& context,
                                            const std::vector<TextPiece>& pieces, int64_t count) {
  std::stable_sort(spans.begin(), spans.end(),
                   [](const Span& a, const Span& b) { return a.sum() > b.sum(); });
  std::vector<AnswerCandidate> candidates;
  std::set<std::string> seen;
  for (const Span& span : spans) {
    if (static_cast<int64_t>(candidates.size()) >= count) break;
    std::string text = text_of(span, context, pieces);
    if (!seen.insert(text).second) continue;
    candidates.push_back({std::move(text), 0, span.start_logit, span.end_logit});
  }
  return candidates;
}

SquadPrediction predict_one(const SquadDataset& dataset, const SquadQuestion& question,
                            const std::vector<TextPiece>& pieces,
                            std::span<const SquadWindow> windows,
                            std::span<const WindowLogits> logits, const SquadConfig& config) {
  SquadPrediction prediction{.id = question.id, .n_best = {}, .best_text = {}, .null_odds = 0};
  std::vector<Span> spans;
  for (size_t i = 0; i < windows.size(); ++i) add_spans(windows[i], logits[i], config, spans);
  const auto none = dataset.has_unanswerable ? no_answer(logits) : std::nullopt;
  if (none) spans.push_back(*none);
  auto& best = prediction.n_best;
  best = distinct_texts(std::move(spans), dataset.contexts[question.context], pieces,
                        config.n_best_size);
  const auto is_empty = [](const AnswerCandidate& candidate) { return candidate.text.empty(); };
  if (none && std::none_of(best.begin(), best.end(), is_empty)) {
    best.push_back({"", 0, none->start_logit, none->end_logit});
  }
  set_probabilities(best);
  const auto answer = std::find_if_not(best.begin(), best.end(), is_empty);
  if (answer != best.end()) prediction.best_text = answer->text;
  if (none && answer != best.end()) {
    prediction.null_odds = none->sum() - answer->start_logit - answer->end_logit;
  }
  return prediction;
}

/// {"id": value} in the order of the predictions, laid out as Python's json.dumps(indent=4).
void write_object(const std::string& path, const std::vector<SquadPrediction>& predictions,
                  const std::function<nlohmann::ordered_json(const SquadPrediction&)>& value) {
  AtomicFile file(path);
  file.write("{");
  std::string_view separator = "\n";
  for (const auto& prediction : predictions) {
    const nlohmann::ordered_json object = {{prediction.id, value(prediction)}};
    const std::string text = object.dump(4, ' ', true);  // "{\n    ...\n}"
    file.write(separator);
    file.write(std::string_view(text).substr(2, text.size() - 4));
    separator = ",\n";
  }
  file.write("\n}\n");
  file.commit();
}

}  // namespace

std::vector<SquadPrediction> predict_answers(const SquadDataset& dataset,
                                             const SquadFeatures& features,
                                             std::span<const WindowLogits> logits,
                                             const SquadConfig& config) {
  if (logits.size() != features.windows.size()) {
    throw RunError("{} windows have logits, and there are {}", logits.size(),
                   features.windows.size());
  }
  std::vector<WindowLogits> used;
  for (size_t i = 0; i < logits.size(); ++i)
    used.push_back(checked(features.windows[i], logits[i]));
  const std::span<const SquadWindow> windows = features.windows;
  const std::span<const WindowLogits> all = used;
  std::vector<SquadPrediction> predictions;
  size_t first = 0;
  for (size_t i = 0; i < dataset.questions.size(); ++i) {
    size_t end = first;
    while (end < windows.size() && windows[end].question == i) ++end;
    const SquadQuestion& question = dataset.questions[i];
    predictions.push_back(predict_one(dataset, question, features.contexts[question.context],
                                      windows.subspan(first, end - first),
                                      all.subspan(first, end - first), config));
    first = end;
  }
  return predictions;
}

std::string final_answer(const SquadPrediction& prediction, std::optional<double> threshold) {
  return threshold && prediction.null_odds > *threshold ? "" : prediction.best_text;
}

AnswerTexts best_texts(const std::vector<SquadPrediction>& predictions) {
  AnswerTexts texts;
  for (const auto& prediction : predictions) texts[prediction.id] = prediction.best_text;
  return texts;
}

NullOdds null_odds(const std::vector<SquadPrediction>& predictions) {
  NullOdds odds;
  for (const auto& prediction : predictions) odds[prediction.id] = prediction.null_odds;
  return odds;
}

SquadResult evaluate_predictions(const SquadDataset& dataset,
                                 const std::vector<SquadPrediction>& predictions,
                                 std::optional<double> threshold) {
  if (!dataset.is_labelled) {
    throw UsageError("{}: questions without answers; there is nothing to score, only to predict",
                     dataset.path);
  }
  const AnswerTexts texts = best_texts(predictions);
  if (!dataset.has_unanswerable) return evaluate_squad_v1(dataset, texts);
  const NullOdds odds = null_odds(predictions);
  if (!threshold) threshold = evaluate_squad_v2(dataset, texts, &odds).best_f1_threshold;
  return evaluate_squad_v2(dataset, texts, &odds, *threshold);
}

void write_answers(const std::string& path, const std::vector<SquadPrediction>& predictions,
                   std::optional<double> threshold) {
  write_object(path, predictions, [&](const SquadPrediction& prediction) {
    return nlohmann::ordered_json(final_answer(prediction, threshold));
  });
}

void write_n_best(const std::string& path, const std::vector<SquadPrediction>& predictions) {
  write_object(path, predictions, [](const SquadPrediction& prediction) {
    auto list = nlohmann::ordered_json::array();
    for (const auto& candidate : prediction.n_best) {
      list.push_back({{"text", candidate.text},
                      {"probability", candidate.probability},
                      {"start_logit", candidate.start_logit},
                      {"end_logit", candidate.end_logit}});
    }
    return list;
  });
}

void write_null_odds(const std::string& path, const std::vector<SquadPrediction>& predictions) {
  write_object(path, predictions, [](const SquadPrediction& prediction) {
    return nlohmann::ordered_json(prediction.null_odds);
  });
}

}  // namespace megalith

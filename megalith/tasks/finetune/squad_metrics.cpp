#include "megalith/tasks/finetune/squad_metrics.hpp"

#include <algorithm>
#include <functional>
#include <string_view>
#include <unordered_map>

#include "megalith/tasks/finetune/json_input.hpp"
#include "megalith/tasks/finetune/python_text.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

bool is_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

/// Replaces each whole word a, an, the by a space; a word is a run of word characters.
std::string without_articles(std::string_view text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size()) {
      const auto [code, length] = unicode::decode(text.data() + end);
      if (!python::is_word_character(code)) break;
      end += length;
    }
    const std::string_view word = text.substr(at, end - at);
    const bool is_article = word == "a" || word == "an" || word == "the";
    result += is_article ? std::string_view(" ") : word;
    if (end < text.size()) {
      const size_t length = unicode::decode(text.data() + end).length;
      result += text.substr(end, length);
      end += length;
    }
    at = end;
  }
  return result;
}

using Score = std::function<double(const std::string& prediction, const std::string& answer)>;

/// The best over the answers that count.
double best_over_answers(const SquadQuestion& question, const std::string& prediction,
                         SquadVersion version, const Score& score) {
  std::vector<std::string> answers;
  for (const auto& answer : question.answers) {
    // 2.0 passes over answers of which nothing remains.
    if (version == SquadVersion::k1 || !normalize_answer(answer.text).empty()) {
      answers.push_back(answer.text);
    }
  }
  if (answers.empty()) answers.emplace_back();
  double best = 0;
  for (const auto& answer : answers) best = std::max(best, score(prediction, answer));
  return best;
}

struct QuestionScores {
  std::vector<double> exact, f1;  // by question
};

double percent(double sum, int64_t total) { return 100.0 * sum / static_cast<double>(total); }

SquadScores mean_scores(const QuestionScores& scores, const std::function<bool(size_t)>& counts) {
  SquadScores mean;
  for (size_t i = 0; i < scores.exact.size(); ++i) {
    if (!counts(i)) continue;
    mean.exact += scores.exact[i];
    mean.f1 += scores.f1[i];
    ++mean.total;
  }
  if (mean.total == 0) return mean;
  return {percent(mean.exact, mean.total), percent(mean.f1, mean.total), mean.total};
}

void require_all(const SquadDataset& dataset, const std::function<bool(const std::string&)>& has,
                 const char* what) {
  int64_t missing = 0;
  std::string first;
  for (const auto& question : dataset.questions) {
    if (has(question.id)) continue;
    if (missing++ == 0) first = question.id;
  }
  if (missing > 0) {
    throw UsageError(
        "{} of {} questions of {} have no {}, the first is {}; the predictions must "
        "be those of this file",
        missing, dataset.questions.size(), dataset.path, what, shortened(first));
  }
}

struct BestThreshold {
  double score, threshold;
};

/// Goes through the questions by their odds; each one passed is answered from then on.
BestThreshold best_threshold(const SquadDataset& dataset, const std::vector<double>& scores,
                             const AnswerTexts& predictions, const NullOdds& odds) {
  std::vector<std::pair<double, size_t>> order;
  double score = 0;
  for (size_t i = 0; i < dataset.questions.size(); ++i) {
    order.emplace_back(odds.at(dataset.questions[i].id), i);
    score += dataset.questions[i].answers.empty() ? 1 : 0;
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  BestThreshold best{score, 0.0};
  for (const auto& [value, i] : order) {
    const auto& question = dataset.questions[i];
    if (!question.answers.empty()) {
      score += scores[i];
    } else if (!predictions.at(question.id).empty()) {
      score -= 1;
    }
    if (score > best.score) best = {score, value};
  }
  return {percent(best.score, static_cast<int64_t>(scores.size())), best.threshold};
}

QuestionScores score_questions(const SquadDataset& dataset, const AnswerTexts& predictions,
                               SquadVersion version) {
  QuestionScores scores;
  for (const auto& question : dataset.questions) {
    const auto found = predictions.find(question.id);
    const bool missing = found == predictions.end();
    scores.exact.push_back(
        missing ? 0 : best_over_answers(question, found->second, version, exact_match));
    scores.f1.push_back(missing
                            ? 0
                            : best_over_answers(question, found->second, version,
                                                [&](const auto& prediction, const auto& answer) {
                                                  return answer_f1(prediction, answer, version);
                                                }));
  }
  return scores;
}

/// The members of an object file, checked by `take`.
void read_object(const std::string& path,
                 const std::function<bool(const std::string&, const nlohmann::json&)>& take,
                 const char* expected) {
  const auto object = read_json_file(path);
  if (!object.is_object()) {
    throw UsageError("{}: is {}, expected an object of question ids", path, shown(object));
  }
  FileMistakes mistakes(path);
  for (const auto& [id, value] : object.items()) {
    if (!take(id, value)) {
      mistakes.add(shortened(id), fmt::format("is {}, expected {}", shown(value), expected));
    }
  }
  mistakes.raise_if_any();
}

}  // namespace

std::string normalize_answer(const std::string& text) {
  std::string plain = python::lower(text);
  std::erase_if(plain, is_punctuation);
  plain = without_articles(plain);
  std::string normalized;
  for (const std::string_view word : python::split(plain)) {
    if (!normalized.empty()) normalized += ' ';
    normalized += word;
  }
  return normalized;
}

bool exact_match(const std::string& prediction, const std::string& answer) {
  return normalize_answer(prediction) == normalize_answer(answer);
}

double answer_f1(const std::string& prediction, const std::string& answer, SquadVersion version) {
  const std::string found = normalize_answer(prediction), wanted = normalize_answer(answer);
  const auto found_words = python::split(found), wanted_words = python::split(wanted);
  if (version == SquadVersion::k2 && (found_words.empty() || wanted_words.empty())) {
    return found_words.empty() && wanted_words.empty() ? 1 : 0;
  }
  std::unordered_map<std::string_view, int64_t> counts;
  for (const auto word : wanted_words) ++counts[word];
  int64_t num_same = 0;
  for (const auto word : found_words) num_same += counts[word]-- > 0 ? 1 : 0;
  if (num_same == 0) return 0;
  const auto same = static_cast<double>(num_same);
  const double precision = same / static_cast<double>(found_words.size());
  const double recall = same / static_cast<double>(wanted_words.size());
  return (2 * precision * recall) / (precision + recall);
}

SquadResult evaluate_squad_v1(const SquadDataset& dataset, const AnswerTexts& predictions) {
  SquadResult result;
  for (const auto& question : dataset.questions) {
    result.num_missing += predictions.contains(question.id) ? 0 : 1;
  }
  result.all = mean_scores(score_questions(dataset, predictions, SquadVersion::k1),
                           [](size_t) { return true; });
  return result;
}

SquadResult evaluate_squad_v2(const SquadDataset& dataset, const AnswerTexts& predictions,
                              const NullOdds* odds, double threshold) {
  require_all(
      dataset, [&](const auto& id) { return predictions.contains(id); }, "prediction");
  if (odds != nullptr) {
    require_all(
        dataset, [&](const auto& id) { return odds->contains(id); }, "null odds");
  }
  const QuestionScores raw = score_questions(dataset, predictions, SquadVersion::k2);
  const auto has_answer = [&](size_t i) { return !dataset.questions[i].answers.empty(); };
  QuestionScores scores = raw;
  for (size_t i = 0; odds != nullptr && i < dataset.questions.size(); ++i) {
    if (odds->at(dataset.questions[i].id) > threshold) {
      scores.exact[i] = scores.f1[i] = has_answer(i) ? 0 : 1;
    }
  }
  SquadResult result;
  result.all = mean_scores(scores, [](size_t) { return true; });
  result.has_ans = mean_scores(scores, has_answer);
  result.no_ans = mean_scores(scores, [&](size_t i) { return !has_answer(i); });
  if (result.has_ans->total == 0) result.has_ans = std::nullopt;
  if (result.no_ans->total == 0) result.no_ans = std::nullopt;
  if (odds != nullptr) {
    const auto exact = best_threshold(dataset, raw.exact, predictions, *odds);
    const auto f1 = best_threshold(dataset, raw.f1, predictions, *odds);
    result.best_exact = exact.score;
    result.best_exact_threshold = exact.threshold;
    result.best_f1 = f1.score;
    result.best_f1_threshold = f1.threshold;
  }
  return result;
}

nlohmann::ordered_json score_object(const SquadResult& result) {
  const bool is_v2 = result.has_ans || result.no_ans;
  nlohmann::ordered_json object = {{is_v2 ? "exact" : "exact_match", result.all.exact},
                                   {"f1", result.all.f1},
                                   {"total", result.all.total}};
  const auto add_part = [&](const std::string& prefix, const std::optional<SquadScores>& scores) {
    if (!scores) return;
    object[prefix + "_exact"] = scores->exact;
    object[prefix + "_f1"] = scores->f1;
    object[prefix + "_total"] = scores->total;
  };
  add_part("HasAns", result.has_ans);
  add_part("NoAns", result.no_ans);
  const auto add = [&](const char* name, const std::optional<double>& value) {
    if (value) object[name] = *value;
  };
  add("best_exact", result.best_exact);
  add("best_exact_thresh", result.best_exact_threshold);
  add("best_f1", result.best_f1);
  add("best_f1_thresh", result.best_f1_threshold);
  if (result.num_missing > 0) object["missing"] = result.num_missing;
  return object;
}

AnswerTexts read_answer_texts(const std::string& path) {
  AnswerTexts texts;
  read_object(
      path,
      [&](const std::string& id, const nlohmann::json& value) {
        if (value.is_string()) texts[id] = value.get<std::string>();
        return value.is_string();
      },
      "a text");
  return texts;
}

NullOdds read_null_odds(const std::string& path) {
  NullOdds odds;
  read_object(
      path,
      [&](const std::string& id, const nlohmann::json& value) {
        if (value.is_number()) odds[id] = value.get<double>();
        return value.is_number();
      },
      "a number");
  return odds;
}

}  // namespace megalith

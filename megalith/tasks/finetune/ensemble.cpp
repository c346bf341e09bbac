#include "megalith/tasks/finetune/ensemble.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "megalith/tasks/finetune/class_metrics.hpp"

namespace megalith {

nlohmann::ordered_json ensemble_classes(const std::vector<std::string>& paths,
                                        const std::optional<std::string>& output,
                                        const std::optional<std::string>& f1_class) {
  const ClassPredictions mean = average_class_predictions(paths);
  if (output) write_class_predictions(*output, mean);
  const bool has_labels =
      std::any_of(mean.rows.begin(), mean.rows.end(),
                  [](const ClassPrediction& row) { return row.label.has_value(); });
  if (!has_labels) return {{"total", mean.rows.size()}};
  return score_object(score_classes(mean, f1_class));
}

nlohmann::ordered_json finish_squad(const SquadDataset& dataset, const SquadFeatures& features,
                                    const std::vector<SpanLogits>& logits,
                                    const SquadConfig& config, const AnswerFiles& files) {
  const auto predictions =
      predict_answers(dataset, features, window_logits(dataset, features, logits), config);
  auto threshold = config.null_score_diff_threshold;
  nlohmann::ordered_json scores = {{"total", dataset.questions.size()}};
  if (dataset.is_labelled) {
    const SquadResult result = evaluate_predictions(dataset, predictions, threshold);
    scores = score_object(result);
    if (!threshold) threshold = result.best_f1_threshold;
  } else if (dataset.has_unanswerable && !threshold) {
    throw UsageError(
        "{}: has no answers to find the threshold of no answer on; give "
        "--null-score-diff-threshold as found on the dev set",
        dataset.path);
  }
  if (!dataset.has_unanswerable) threshold = std::nullopt;
  if (threshold) scores["threshold"] = *threshold;
  if (files.answers) write_answers(*files.answers, predictions, threshold);
  if (files.n_best) write_n_best(*files.n_best, predictions);
  if (files.null_odds) write_null_odds(*files.null_odds, predictions);
  if (files.span_logits) write_span_logits(*files.span_logits, logits);
  return scores;
}

nlohmann::ordered_json ensemble_spans(const SquadDataset& dataset, const SquadFeatures& features,
                                      const std::vector<std::string>& paths,
                                      const SquadConfig& config, const AnswerFiles& files) {
  return finish_squad(dataset, features, average_span_logits(paths), config, files);
}

}  // namespace megalith

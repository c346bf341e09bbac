// What `--ensemble A B C ...` does: averages saved predictions, writes what one model's run writes,
// and scores them. Needs no model and no process group.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "megalith/tasks/finetune/span_logits.hpp"

namespace megalith {

/// Averages files of class_predictions.hpp and writes the average to `output` when it is given.
/// Returns score_object() of class_metrics.hpp, or {"total"} when no example has a label. Throws
/// UsageError when the files do not belong together.
nlohmann::ordered_json ensemble_classes(const std::vector<std::string>& paths,
                                        const std::optional<std::string>& output,
                                        const std::optional<std::string>& f1_class);

/// Files for answers; unset ones are not written.
struct AnswerFiles {
  std::optional<std::string> answers, n_best, null_odds, span_logits;
};

/// From logits to files and scores, for one model's or the average of several: predicts, finds the
/// threshold of 2.0 where config gives none, writes, and returns score_object() of
/// squad_metrics.hpp with "threshold", or {"total"} when the dataset has no answers.
nlohmann::ordered_json finish_squad(const SquadDataset& dataset, const SquadFeatures& features,
                                    const std::vector<SpanLogits>& logits,
                                    const SquadConfig& config, const AnswerFiles& files);

/// finish_squad() for the average of files of span_logits.hpp.
nlohmann::ordered_json ensemble_spans(const SquadDataset& dataset, const SquadFeatures& features,
                                      const std::vector<std::string>& paths,
                                      const SquadConfig& config, const AnswerFiles& files);

}  // namespace megalith

// A model's start and end logits of every window, saved so that the answers can be found again
// (squad_answers.hpp) and averaged with what other models said.
//
// JSON lines, which pandas.read_json(lines=True) and jq open: {"id", "window", "start_logits",
// "end_logits"}, one window a line; numbers read back as the same floats. An average is over
// logits, place by place, so that all models must have seen the same windows.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "megalith/tasks/finetune/squad_answers.hpp"

namespace megalith {

struct SpanLogits {
  std::string id;  // of the question
  int64_t window = 0;
  std::vector<float> start, end;  // one for each id of the window
};

/// The model's logits put to the windows; padding is cut off.
std::vector<SpanLogits> span_logits(const SquadDataset& dataset, const SquadFeatures& features,
                                    std::span<const WindowLogits> logits);
/// The same seen as predict_answers() takes it. `rows` must outlive it. Throws UsageError when they
/// are not the windows of `features`, in order.
std::vector<WindowLogits> window_logits(const SquadDataset& dataset, const SquadFeatures& features,
                                        const std::vector<SpanLogits>& rows);

void write_span_logits(const std::string& path, const std::vector<SpanLogits>& rows);
std::vector<SpanLogits> read_span_logits(const std::string& path);

/// The mean of the logits, in the first file's order. Throws UsageError when the files do not hold
/// the same windows, as when vocabulary, sequence length or stride differ.
std::vector<SpanLogits> average_span_logits(const std::vector<std::string>& paths);

}  // namespace megalith

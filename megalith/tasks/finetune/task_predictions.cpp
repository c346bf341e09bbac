#include "megalith/tasks/finetune/task_predictions.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <numeric>

#include "megalith/parallel/collectives.hpp"

namespace megalith {
namespace {

size_t length_of(const TaskRow& row) {
  size_t longest = 0;
  for (const auto& sequence : row.sequences) longest = std::max(longest, sequence.ids.size());
  return longest;
}

/// Examples by their length, so that a batch has little padding.
std::vector<size_t> by_length(const TaskExamples& examples) {
  std::vector<size_t> lengths, order(examples.size());
  for (size_t i = 0; i < examples.size(); ++i) lengths.push_back(length_of(examples.row(i)));
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return lengths[a] > lengths[b]; });
  return order;
}

/// Logits of a forward as one line of fp32 an example: [E, C], or [E, 2 S] of spans.
at::Tensor as_lines(const at::Tensor& logits, int64_t examples) {
  const at::Tensor starts_first = logits.dim() == 3 ? logits.transpose(1, 2) : logits;
  return starts_first.reshape({examples, -1}).to(at::kFloat);
}

}  // namespace

TaskExamples::Logits predict_examples(const BertModel& model, const ProcessGroups& groups,
                                      const TaskExamples& examples,
                                      const PredictionOptions& options) {
  const c10::NoGradGuard no_grad;
  TaskExamples::Logits logits(examples.size());
  if (examples.size() == 0) return logits;
  const Group& data = groups.data();
  const auto order = by_length(examples);
  const auto size = static_cast<int64_t>(order.size()), batch = options.micro_batch_size;
  const bool is_spans = model.config().qa_head;
  const auto longest = static_cast<int64_t>(length_of(examples.row(order.front())));
  // Spans: two lines of places, which lie where those of the longest row would.
  const int64_t width = is_spans ? 2 * longest : examples.num_outputs();
  const int64_t rounds = (size + batch * data.size() - 1) / (batch * data.size());
  at::Tensor mine = at::zeros({rounds * batch, width}, at::kFloat);
  for (int64_t round = 0; round < rounds; ++round) {
    const int64_t first = (round * data.size() + data.rank) * batch;
    const int64_t count = std::min(batch, size - first);
    groups.calls().set_phase(fmt::format("prediction, batch {} of {}", round + 1, rounds));
    if (count <= 0) continue;
    const std::span<const size_t> indices(order.data() + first, static_cast<size_t>(count));
    const BatchTensors tensors = example_batch(
        examples, indices, {.id = options.pad_id, .longest = options.seq_length}, model.device());
    LayerContext context;
    at::Tensor lines = as_lines(model.task_logits(tensors.input, context), count).cpu();
    at::Tensor target = mine.narrow(0, round * batch, count);
    if (is_spans) {
      lines = lines.view({count, 2, -1});
      const int64_t kept = std::min(lines.size(2), longest);
      target.view({count, 2, longest}).narrow(2, 0, kept).copy_(lines.narrow(2, 0, kept));
    } else {
      target.copy_(lines);
    }
  }
  groups.calls().set_phase("prediction, results");
  // [data, rounds, batch, width] -> [rounds, data, batch, width], the order of the examples.
  const at::Tensor all = all_gather(mine.to(model.device()), data)
                             .cpu()
                             .view({data.size(), rounds, batch, width})
                             .transpose(0, 1)
                             .contiguous();
  const float* line = all.const_data_ptr<float>();
  for (const size_t index : order) {
    auto& row = logits[index];
    if (is_spans) {
      const auto length = static_cast<int64_t>(length_of(examples.row(index)));
      row.assign(line, line + length);
      row.insert(row.end(), line + longest, line + longest + length);
    } else {
      row.assign(line, line + width);
    }
    line += width;
  }
  return logits;
}

}  // namespace megalith

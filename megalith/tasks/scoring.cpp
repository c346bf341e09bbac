#include "megalith/tasks/scoring.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <iterator>

#include "megalith/core/error.hpp"
#include "megalith/parallel/collectives.hpp"

namespace megalith {
namespace {

/// Rows of logits at a time: 1,024 of GPT-2's vocabulary are 200 MB.
constexpr int64_t kLogitRows = 1024;
constexpr int64_t kBatchesBetweenMeetings = 16;

/// Rows as the model takes them.
struct Batch {
  ModelInput input;
  std::optional<at::Tensor> visible;  // [B, 1, S, S] when a row has branches
  at::Tensor places, columns;         // [N]: where the targets are in [S, B]
  at::Tensor labels;                  // [N]
};

/// The alternatives go on from the end of the trunk.
void set_branch_positions(const ScoringRow& row, int64_t* positions) {
  int64_t trunk = 0, next = 0;
  int32_t current = 0;
  for (int64_t i = 0; i < ssize(row.branches); ++i) {
    if (row.branches[i] == 0) {
      positions[i] = trunk++;
      continue;
    }
    if (row.branches[i] != current) next = trunk;
    current = row.branches[i];
    positions[i] = next++;
  }
}

at::Tensor branch_visibility(const std::vector<ScoringRow>& rows, int64_t width) {
  at::Tensor branches = at::zeros({ssize(rows), width}, at::kLong);
  auto branch = branches.accessor<int64_t, 2>();
  for (int64_t i = 0; i < ssize(rows); ++i) {
    for (int64_t j = 0; j < ssize(rows[i].branches); ++j) branch[i][j] = rows[i].branches[j];
  }
  const at::Tensor own = branches.unsqueeze(1).eq(branches.unsqueeze(2));  // [B, S, S]
  return own.logical_or(branches.eq(0).unsqueeze(1)).unsqueeze(1);
}

Batch make_batch(const std::vector<ScoringRow>& rows, at::Device device) {
  int64_t width = 0, num_targets = 0;
  bool has_branches = false;
  for (const auto& row : rows) {
    width = std::max(width, ssize(row.tokens));
    num_targets += ssize(row.targets);
    has_branches |= !row.branches.empty();
  }
  at::Tensor tokens = at::zeros({ssize(rows), width}, at::kLong);
  at::Tensor positions = at::arange(width, at::kLong).repeat({ssize(rows), 1});
  at::Tensor targets = at::zeros({3, num_targets}, at::kLong);
  auto token = tokens.accessor<int64_t, 2>(), target = targets.accessor<int64_t, 2>();
  int64_t n = 0;
  for (int64_t i = 0; i < ssize(rows); ++i) {
    const ScoringRow& row = rows[i];
    for (int64_t j = 0; j < ssize(row.tokens); ++j) token[i][j] = row.tokens[j];
    set_branch_positions(row, positions[i].mutable_data_ptr<int64_t>());
    // What fills the row up is looked at by nobody, and needs a position the model has.
    positions[i].narrow(0, ssize(row.tokens), width - ssize(row.tokens)).zero_();
    for (const auto& [place, id] : row.targets) {
      target[0][n] = place;
      target[1][n] = i;
      target[2][n++] = id;
    }
  }
  Batch batch;
  batch.input = {.tokens = tokens.to(device), .position_ids = positions.to(device), .segments = {}};
  if (has_branches) batch.visible = branch_visibility(rows, width).to(device);
  targets = targets.to(device);
  batch.places = targets[0];
  batch.columns = targets[1];
  batch.labels = targets[2];
  return batch;
}

/// On the model's device, as every backend wants it.
void barrier_of(const Group& group, const GptModel& model) {
  at::Tensor token = at::zeros({1}, at::TensorOptions().device(model.device()));
  all_reduce(token, group);
}

}  // namespace

ScoringRow plain_row(std::vector<int32_t> tokens, int64_t first) {
  ScoringRow row;
  for (int64_t i = first; i + 1 < ssize(tokens); ++i) row.targets.push_back({i, tokens[i + 1]});
  tokens.pop_back();  // predicted, not looked at
  row.tokens = std::move(tokens);
  return row;
}

std::vector<std::vector<TokenScore>> score_rows(const GptModel& model,
                                                const std::vector<ScoringRow>& rows,
                                                bool with_likeliest) {
  const at::NoGradGuard no_gradients;
  const Batch batch = make_batch(rows, model.device());
  LayerContext context;
  context.visible = batch.visible;
  const at::Tensor hidden =
      model.hidden_states(batch.input, context).index({batch.places, batch.columns});  // [N, H]
  std::vector<TokenScore> flat;
  for (int64_t first = 0; first < hidden.size(0); first += kLogitRows) {
    const int64_t count = std::min(kLogitRows, hidden.size(0) - first);
    const TokenScores scores = model.score(hidden.narrow(0, first, count),
                                           batch.labels.narrow(0, first, count), with_likeliest);
    const at::Tensor losses = scores.losses.to(at::kCPU, at::kDouble).contiguous();
    const at::Tensor likeliest =
        with_likeliest ? scores.likeliest.cpu().contiguous() : at::full({count}, -1, at::kLong);
    if (losses.isnan().any().item<bool>()) {
      throw RunError(
          "the model gives a loss that is not a number; try --fp32, or another checkpoint");
    }
    for (int64_t i = 0; i < count; ++i) {
      flat.push_back({-losses.const_data_ptr<double>()[i],
                      static_cast<int32_t>(likeliest.const_data_ptr<int64_t>()[i])});
    }
  }
  std::vector<std::vector<TokenScore>> scores;
  auto next = flat.begin();
  for (const auto& row : rows) {
    scores.emplace_back(next, next + ssize(row.targets));
    next += ssize(row.targets);
  }
  return scores;
}

int64_t share_of_rows(int64_t count, int64_t rank, int64_t size) {
  return count > rank ? (count - rank - 1) / size + 1 : 0;
}

void score_share(const GptModel& model, const ProcessGroups& groups, const RowSource& source,
                 const ScoringOptions& options, const ScoresCallback& on_scores) {
  const Group& data = groups.data();
  const int64_t all = share_of_rows(source.size, data.rank, data.size());
  const int64_t most = share_of_rows(source.size, 0, data.size());  // no rank has more
  const auto index = [&](int64_t i) { return data.rank + i * data.size(); };
  int64_t batch = 0;
  for (int64_t done = 0; done < most; done += options.micro_batch_size, ++batch) {
    groups.calls().set_phase(fmt::format("evaluation, row {} of {}", done, all));
    if (batch % kBatchesBetweenMeetings == kBatchesBetweenMeetings - 1) barrier_of(data, model);
    const int64_t end = std::min(done + options.micro_batch_size, all);
    if (done >= end) continue;
    std::vector<ScoringRow> rows;
    for (int64_t i = done; i < end; ++i) rows.push_back(source.row(index(i)));
    const auto scores = score_rows(model, rows, options.with_likeliest);
    for (int64_t i = done; i < end; ++i) on_scores(index(i), scores[i - done]);
    if (options.on_progress) options.on_progress(end, all);
  }
  groups.calls().set_phase("evaluation, results");
}

std::vector<double> sum_over_data_ranks(const std::vector<double>& values, const GptModel& model,
                                        const ProcessGroups& groups) {
  at::Tensor sums = at::zeros({ssize(values)}, at::kDouble);
  std::copy(values.begin(), values.end(), sums.mutable_data_ptr<double>());
  sums = sums.to(model.device());
  all_reduce(sums, groups.data());
  sums = sums.cpu();
  return {sums.const_data_ptr<double>(), sums.const_data_ptr<double>() + values.size()};
}

std::vector<double> gather_lines(const std::vector<double>& mine, int64_t width, int64_t count,
                                 const GptModel& model, const ProcessGroups& groups) {
  const int64_t size = groups.data().size();
  at::Tensor packed = at::zeros({share_of_rows(count, 0, size), width}, at::kDouble);
  std::copy(mine.begin(), mine.end(), packed.mutable_data_ptr<double>());
  // [share, data, width] is the order of the rows.
  const at::Tensor all =
      all_gather(packed.to(model.device()), groups.data()).cpu().transpose(0, 1).contiguous();
  const double* const first = all.const_data_ptr<double>();
  return {first, first + count * width};
}

}  // namespace megalith

// The probability a model gives to tokens, for every task that asks: rows of ids with the places
// that are scored.
//
// Only scored places get logits. Rows of a batch are filled up on the right and hidden from each
// other, so that a score depends on its row and the weights, not on the batch or the layout (within
// the rounding of the compute type). What the scores mean is the tasks' own (perplexity.hpp,
// examples' tasks); the sums there are in double.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "megalith/models/gpt.hpp"
#include "megalith/parallel/process_groups.hpp"

namespace megalith {

/// A token to be scored by what the model says at a place of the row.
struct Target {
  int64_t place = 0;  // index into the row's tokens
  int32_t id = 0;     // what should follow there
};

/// One sequence for the model.
struct ScoringRow {
  std::vector<int32_t> tokens;
  std::vector<Target> targets;
  /// Empty, or for each token 0 for the trunk or the number of an alternative that goes on from it:
  /// alternatives see the trunk, which comes first, and themselves. Their common beginning, its
  /// keys and values, is so computed once.
  std::vector<int32_t> branches = {};
};

/// A row whose every token but the first is scored, from target `first` on (0: all of them).
ScoringRow plain_row(std::vector<int32_t> tokens, int64_t first = 0);

struct TokenScore {
  double log_probability = 0;
  int32_t likeliest = -1;  // the id of the largest logit; -1 when not asked for
};

/// The scores of every target of every row, in order. Throws RunError when one is not a number.
/// Communicates: tensor.
std::vector<std::vector<TokenScore>> score_rows(const GptModel& model,
                                                const std::vector<ScoringRow>& rows,
                                                bool with_likeliest);

/// Rows that are made when their turn comes.
struct RowSource {
  int64_t size = 0;
  std::function<ScoringRow(int64_t index)> row;
};

struct ScoringOptions {
  int64_t micro_batch_size = 8;
  bool with_likeliest = false;
  /// Called after every batch with the number of this rank's rows that are done, and of all of
  /// them.
  std::function<void(int64_t done, int64_t all)> on_progress = {};
};

using ScoresCallback = std::function<void(int64_t index, std::span<const TokenScore>)>;

/// How many rows data rank `rank` of `size` takes of `count`: rank, rank + size, ...
int64_t share_of_rows(int64_t count, int64_t rank, int64_t size);

/// Scores this data rank's share of the rows and hands out the scores row by row. Data ranks meet
/// every few batches, so that a slow one is waited for in between and not for as long as it has
/// fallen behind by the end.
/// Communicates: tensor and data, every rank must call with the same arguments.
void score_share(const GptModel& model, const ProcessGroups& groups, const RowSource& source,
                 const ScoringOptions& options, const ScoresCallback& on_scores);

/// Sums over the data ranks, the same bits on each. Communicates: data.
std::vector<double> sum_over_data_ranks(const std::vector<double>& values, const GptModel& model,
                                        const ProcessGroups& groups);

/// One line of `width` numbers for every row, of which this data rank gives those of its share, in
/// order; all lines on every rank, by row. Communicates: data.
std::vector<double> gather_lines(const std::vector<double>& mine, int64_t width, int64_t count,
                                 const GptModel& model, const ProcessGroups& groups);

}  // namespace megalith

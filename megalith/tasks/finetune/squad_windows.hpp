// SQuAD questions as token ids: [CLS] question [SEP] window of the context [SEP], with the places
// of the answer, as BERT's run_squad makes them.
//
// A context that does not fit is cut into windows that begin `doc_stride` pieces apart. A piece
// that is in several windows counts where it has the most context on both sides. Every piece knows
// which bytes of the context it is, so that an answer is a part of the original text, never a text
// put together from pieces.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "megalith/core/fields.hpp"
#include "megalith/tasks/finetune/features.hpp"
#include "megalith/tasks/finetune/squad.hpp"
#include "megalith/tokenizer/word_piece.hpp"

namespace megalith {

/// The defaults are those of the public recipes.
struct SquadConfig {
  int64_t doc_stride = 128;
  int64_t max_query_length = 64;
  int64_t n_best_size = 20;
  int64_t max_answer_length = 30;  // pieces
  /// 2.0: the odds above which nothing is answered; unset, the best of the file is found.
  std::optional<double> null_score_diff_threshold = std::nullopt;

  FieldList fields();
};

struct SquadWindow {
  size_t question = 0;  // index into the dataset's questions
  int64_t number = 0;   // of the question's windows, from 0
  TokenFeatures features;
  int64_t context_place = 0;  // index into ids of the window's first context piece
  int64_t first_piece = 0;    // which piece of the context that is
  int64_t num_pieces = 0;
  std::vector<bool>
      has_most_context;  // of each piece of the window: no other window sees it better
  /// Places in ids of the answer's first and last piece; 0 and 0, [CLS], when it is not in this
  /// window or there is none. Meaningful where answers were asked for.
  int64_t start = 0, end = 0;
};

struct SquadFeatures {
  std::vector<std::vector<TextPiece>> contexts;  // pieces of each context of the dataset
  std::vector<SquadWindow> windows;              // a question's are neighbours, in order
  ReadReport report;                             // questions left out
};

enum class SquadUse { kTraining, kEvaluation };

/// kTraining: `start` and `end` from each question's first answer; questions whose answer does not
/// stand in their context are left out and reported. kEvaluation: all questions, no answers; one
/// whose context has no pieces gets no window.
/// Throws UsageError when there is no room for a context, or when training data has no answers.
SquadFeatures build_squad_features(const SquadDataset& dataset, const WordPieceTokenizer& tokenizer,
                                   const SquadConfig& config, int64_t seq_length, SquadUse use);

}  // namespace megalith

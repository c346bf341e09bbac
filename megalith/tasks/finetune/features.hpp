// Token ids for BERT: [CLS] A [SEP], or [CLS] A [SEP] B [SEP] with types 0 and 1.
//
// The layout is that of upstream's tasks and of BERT's code. Sequences stay as long as they are
// until pad_features() makes a batch of them, so that a batch may be as short as its longest.
// Reading tasks cut long texts into windows instead: squad_windows.hpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "megalith/tasks/finetune/choice_questions.hpp"
#include "megalith/tasks/finetune/classification.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith {

struct SpecialIds {
  int32_t cls = 0, sep = 0, pad = 0;
};

/// Throws UsageError when the vocabulary lacks [CLS], [SEP] or [PAD].
SpecialIds special_ids(const Tokenizer& tokenizer);

struct TokenFeatures {
  std::vector<int32_t> ids;
  std::vector<int8_t> types;
  int64_t num_dropped = 0;  // ids of the texts that did not fit
};

/// What goes when A and B together are too long.
enum class PairTruncation {
  kEnd,         // the end of the whole, as upstream's tasks
  kLongerPart,  // ends of the longer one, of equals B, as BERT's run_classifier
};

/// At most `seq_length` ids, special ones included. Throws UsageError below 3 ids (5 for a pair).
TokenFeatures single_features(std::span<const int32_t> text, const SpecialIds& special,
                              int64_t seq_length);
TokenFeatures pair_features(std::span<const int32_t> text_a, std::span<const int32_t> text_b,
                            const SpecialIds& special, int64_t seq_length,
                            PairTruncation truncation);

TokenFeatures classification_features(const LabelledText& example, const Tokenizer& tokenizer,
                                      int64_t seq_length, PairTruncation truncation);

/// One sequence a choice: A is the question with the choice, cut to `max_qa_length` ids, B the
/// context, whose end is cut. A "_" in the question is where the choice goes; without one it
/// follows after a space.
std::vector<TokenFeatures> choice_features(const ChoiceQuestion& question,
                                           const Tokenizer& tokenizer, int64_t seq_length,
                                           int64_t max_qa_length);

/// One example: a sequence for a text or pair, one for each choice of a question.
struct ExampleFeatures {
  std::vector<TokenFeatures> sequences;
  std::optional<int64_t> label;
};

struct FeatureSet {
  std::vector<ExampleFeatures> examples;  // in the order of the file
  int64_t num_truncated = 0;              // examples that lost ids
  int64_t longest = 0;                    // ids
};

FeatureSet build_features(const ClassificationSet& set, const Tokenizer& tokenizer,
                          int64_t seq_length, PairTruncation truncation);
FeatureSet build_features(const ChoiceSet& set, const Tokenizer& tokenizer, int64_t seq_length,
                          int64_t max_qa_length);

/// A batch as the model takes it, row by row.
struct FeatureBatch {
  int64_t num_rows = 0, length = 0;
  std::vector<int64_t> ids, types;  // [num_rows, length]; [PAD] and 0 beyond a row's end
  std::vector<uint8_t> mask;        // 1 where a row has an id
};

/// `length` 0 pads to the longest row. Throws UsageError when a row is longer than `length`.
FeatureBatch pad_features(std::span<const TokenFeatures> rows, int64_t length, int32_t pad_id);

}  // namespace megalith

// Which sentences make a BERT sample: the mapping from sample numbers to runs of sentences.
//
// Pure computation from sentence lengths and document bounds; index_cache.hpp keeps the result on
// disk and bert_dataset.hpp makes samples from it. Promise: the rows, their type and their order
// equal what upstream builds from the same numbers; its seeds are those of int32, and what makes it
// divide by zero or loop for ever is refused here.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "megalith/data/numpy_file.hpp"

namespace megalith {

/// [CLS], [SEP] and [SEP].
inline constexpr int64_t kBertSpecialTokens = 3;
/// Upstream leaves a document out for one sentence that is longer.
inline constexpr int64_t kLongestSentence = 512;
/// Shorter samples leave no choice of a target length.
inline constexpr int64_t kShortestBertSequence = 5;
/// The shuffle adds 1 to an int32.
inline constexpr int64_t kLargestBertSeed = 2147483646;

struct BertIndexRequest {
  int64_t sequence_length = 0;
  std::optional<int64_t> num_samples = {};  // nothing: exactly one epoch
  int64_t seed = 1234;
  double short_sequence_probability = 0.1;
  bool sentence_order = true;        // a sample is a pair, so it takes two sentences
  bool keep_long_sentences = false;  // ours: their documents are used like others

  int64_t min_sentences() const { return sentence_order ? 2 : 1; }
};

/// Document d of a split holds the sentences [bounds[d], bounds[d + 1]).
using DocumentBounds = std::span<const int64_t>;

/// What the mapping takes from the documents of a split, and what it leaves out.
struct BertSurvey {
  int64_t documents = 0, sentences = 0;  // of the split
  int64_t too_few_sentences = 0;         // documents left out, empty ones included
  int64_t long_sentences = 0;            // documents left out for a sentence of too many pieces
  int64_t used_documents = 0, used_sentences = 0, used_tokens = 0;
  int64_t first_used_sentence = -1;

  /// "; left out: 3 with fewer than 2 sentences, …", or nothing.
  std::string left_out(const BertIndexRequest& request) const;
};

/// One pass over the documents. The bounds must rise and lie inside the sentences.
BertSurvey survey_documents(std::span<const int32_t> lengths, DocumentBounds bounds,
                            const BertIndexRequest& request);

/// Rows (first sentence, one past the last, target length), [samples, 3]: whole epochs until there
/// are at least as many as asked, then shuffled. Throws std::invalid_argument for a request that
/// BertDataConfig::check refuses, or when samples are asked of documents that give none.
IntegerArray build_bert_mapping(std::span<const int32_t> lengths, DocumentBounds bounds,
                                const BertIndexRequest& request);

/// Epochs that a mapping holds: the rows that start where the first document does.
int64_t count_epochs(const IntegerArray& mapping, const BertSurvey& survey);

}  // namespace megalith

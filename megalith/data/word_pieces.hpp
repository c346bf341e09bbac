// What BERT's samples need to know of a vocabulary: the ids with a part to play, and which pieces
// go on a word ("##ing").
//
// Made from a tokenizer, or made up for mock data. Read-only, shared by threads.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith {

struct WordPieces {
  int64_t cls = 0, sep = 0, mask = 0, pad = 0;
  std::vector<uint8_t> continues_word;  // by id: 1 where the text starts with ##
  std::vector<int64_t> ordinary;        // ids that are not written in brackets

  int64_t size() const { return static_cast<int64_t>(continues_word.size()); }
  bool knows(int64_t id) const { return id >= 0 && id < size(); }
};

/// Throws UsageError listing the entries among [CLS], [SEP], [MASK] and [PAD] that the vocabulary
/// lacks, and what to give.
WordPieces word_pieces_of(const Tokenizer& tokenizer);

/// Five special ids and words of one piece, for --mock-data. Throws UsageError for a vocabulary
/// that leaves no word.
WordPieces mock_word_pieces(int64_t vocab_size);

/// What a run makes its samples with: the tokenizer's; for mock data made up where the tokenizer
/// is none of BERT's; nothing without a tokenizer, which is enough to count samples.
std::shared_ptr<const WordPieces> make_word_pieces(const Tokenizer* tokenizer, int64_t vocab_size,
                                                   bool mock_data);

}  // namespace megalith

// Where a dataset's tokens come from: sequences of ids, by number, and the documents they are in.
//
// Two kinds: an indexed dataset on disk, and made-up tokens for runs without files (--mock-data).
// Sample orders and datasets know this interface only. Reading is safe from several threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace megalith {

struct WordPieces;

class TokenSource {
 public:
  virtual ~TokenSource() = default;
  /// The prefix as the user wrote it, or a name.
  virtual const std::string& name() const = 0;
  virtual std::span<const int32_t> sequence_lengths() const = 0;
  /// A document holds the sequences [first_sequence(d), first_sequence(d + 1)): one where nothing
  /// else is said, sentences in data for BERT. The numbers are the file's, not checked.
  virtual int64_t num_documents() const;
  virtual int64_t first_sequence(int64_t document) const { return document; }
  /// Copies out.size() ids of a sequence, from `offset` on.
  virtual void read(int64_t sequence, int64_t offset, std::span<int64_t> out) const = 0;
  /// "corpus_text_document: document 7, token 12", for messages.
  virtual std::string place(int64_t sequence, int64_t offset) const = 0;
};

/// Opens PREFIX.bin and PREFIX.idx. Throws UsageError naming what is wrong with them.
std::shared_ptr<const TokenSource> open_indexed_tokens(const std::string& prefix);

/// 100,000 documents of made-up ids below `vocab_size`, of 1 to 4,095 tokens: 1, 2, 3, … and `eod`
/// at the end (the last id of the vocabulary where there is none). The same in every run.
std::shared_ptr<const TokenSource> make_mock_tokens(int64_t vocab_size, std::optional<int64_t> eod);

/// The same for BERT: 10,000 documents of 1 to 40 sentences of 1 to 60 made-up words of `pieces`.
std::shared_ptr<const TokenSource> make_mock_sentences(std::shared_ptr<const WordPieces> pieces);

}  // namespace megalith

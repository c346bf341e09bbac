// Writes an indexed dataset: PREFIX.bin and PREFIX.idx (docs/data.md), byte for byte as Megatron-LM
// does.
//
// Memory does not grow with the corpus: lengths and document bounds wait in nameless files beside
// the output. Promise: both files appear at commit(), or neither; a writer destroyed before it
// leaves nothing behind, and at no moment does an index stand beside ids that are not its own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "megalith/core/atomic_file.hpp"
#include "megalith/data/indexed_dataset.hpp"

namespace megalith {

/// A nameless file that is written once from front to back, then read once. Vanishes with the
/// object.
class SpillFile {
 public:
  /// Made in `folder`. Throws UsageError when it cannot be.
  explicit SpillFile(const std::string& folder);
  SpillFile(const SpillFile&) = delete;
  SpillFile& operator=(const SpillFile&) = delete;
  ~SpillFile();

  void write(std::span<const std::byte> bytes);
  void rewind();
  /// Fills the front of `bytes`; returns how many were left to read, at most bytes.size().
  size_t read(std::span<std::byte> bytes);

 private:
  std::string folder_;
  std::FILE* file_ = nullptr;
};

class IndexedDatasetWriter {
 public:
  /// Throws UsageError when the folder is missing or may not be written.
  IndexedDatasetWriter(const std::string& prefix, TokenType type);
  IndexedDatasetWriter(const IndexedDatasetWriter&) = delete;
  IndexedDatasetWriter& operator=(const IndexedDatasetWriter&) = delete;
  ~IndexedDatasetWriter();

  /// Appends one sequence to the open document.
  /// Throws RunError for an id that the type cannot hold, or a sequence of 2^31 ids or more.
  void append_sequence(std::span<const int32_t> ids);
  void append_sequence(std::span<const int64_t> ids);
  /// The mode of the sequence just appended; give one to every sequence or to none.
  void set_mode(int8_t mode);
  /// Closes the document, which may have no sequence.
  void end_document();
  /// Appends a whole dataset of the same type, document by document, without decoding its ids.
  void append_dataset(const IndexedDataset& other);

  int64_t num_sequences() const { return num_sequences_; }
  int64_t num_documents() const { return num_documents_; }
  int64_t num_tokens() const { return tokens_->size() / token_size(type_); }
  int64_t size_bytes() const { return tokens_->size(); }

  /// Writes the index and syncs both files under their temporary names, so that several writers can
  /// be prepared before the first is committed. Nothing may be appended after it.
  void prepare();
  /// prepare(), then gives both files their names.
  void commit();

 private:
  template <class Id>
  void append_ids(std::span<const Id> ids);
  void append_length(int64_t length);
  void append_bound(int64_t bound);
  void write_index();
  void write_pointers();

  std::string prefix_;
  TokenType type_;
  std::unique_ptr<AtomicFile> tokens_, index_;
  SpillFile lengths_, bounds_, modes_;
  std::string encoded_;
  int64_t num_sequences_ = 0, num_documents_ = 0, num_modes_ = 0, document_start_ = 0;
  bool prepared_ = false;
};

}  // namespace megalith

// What one worker of preprocess does: from raw documents to token ids, sequence by sequence.
//
// Holds the parser and sentence rules of one thread; the tokenizer is shared. Order within a batch
// is kept, and a document without tokens stays as a document without sequences, as upstream writes
// it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "megalith/data/corpus_reader.hpp"
#include "megalith/data/sentence_splitter.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith {

/// Documents that travel through the pipeline together.
struct RawBatch {
  std::vector<RawDocument> documents;
  int64_t text_bytes = 0;
};

/// The ids of one key of a batch: sequences back to back, documents back to back.
struct EncodedKey {
  std::vector<int32_t> ids;
  std::vector<int64_t> sequence_lengths;
  std::vector<int64_t> sequences_in_document;
};

struct EncodedBatch {
  std::vector<EncodedKey> keys;
  std::vector<int64_t> text_bytes, positions;  // of each document that was encoded
  std::vector<std::string> bad_lines;
  int64_t last_position = 0;
};

struct EncoderOptions {
  std::vector<std::string> keys;
  std::vector<std::string> file_names;  // by RawDocument::file_index, for messages
  bool skip_bad_lines = false;
  bool split_sentences = false;
  bool keep_newlines = false;
  std::string language = "english";
  bool append_eod = false;
};

class DocumentEncoder {
 public:
  DocumentEncoder(EncoderOptions options, const Tokenizer& tokenizer);

  /// Throws UsageError naming file and line for a broken line, unless these are skipped.
  EncodedBatch encode(const RawBatch& batch);

 private:
  std::string place(const RawDocument& document) const;
  bool parse(const RawDocument& document, EncodedBatch& out);
  void encode_texts(const std::vector<std::string_view>& texts, EncodedKey& out);
  void append_sequence(std::string_view text, EncodedKey& out);

  EncoderOptions options_;
  const Tokenizer& tokenizer_;
  std::optional<int32_t> eod_;
  JsonLineParser parser_;
  SentenceSplitter splitter_;
  std::vector<std::vector<std::string_view>> texts_;
};

}  // namespace megalith

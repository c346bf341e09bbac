// From text to indexed datasets: reads a corpus, tokenizes it on several threads, writes the pairs
// PREFIX_<key>_document (or _sentence). What upstream's tools/preprocess_data.py does, told in
// docs/data.md.
//
// Knows no terminal and no signals: progress and the wish to stop are passed in. Promise: the bytes
// depend on corpus, tokenizer and options only, never on the number of workers; all outputs
// appear at the end, or none.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "megalith/core/fields.hpp"
#include "megalith/data/corpus_reader.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith {

struct PreprocessConfig {
  std::vector<std::string> input;
  std::vector<std::string> json_keys = {"text"};
  DocumentSeparator document_separator = DocumentSeparator::kFile;
  int64_t blank_lines = 1;
  bool skip_bad_lines = false;
  bool split_sentences = false;
  bool keep_newlines = false;
  std::string language = "english";
  bool append_eod = false;
  std::string output_prefix;
  int64_t workers = 0;  // 0: one for each core
  int64_t log_interval = 1000;

  FieldList fields();
  /// Adds what is missing or contradicts itself.
  void check(Problems& problems) const;
  /// PREFIX_<key>_document or PREFIX_<key>_sentence for each key.
  std::vector<std::string> output_prefixes() const;
};

/// State of a run after a document was written, or at its end.
struct PreprocessProgress {
  int64_t documents = 0;        // written so far, those without a token included
  int64_t empty_documents = 0;  // of these, those without a token in any key
  int64_t tokens = 0;           // of all keys
  int64_t text_bytes = 0;       // unpacked, as upstream counts: whole lines of JSON
  int64_t input_bytes = 0, input_bytes_total = 0;  // as on disk, for the time left
  int64_t bad_lines = 0;
  double seconds = 0;
};

struct PreprocessHooks {
  /// Called after every document.
  std::function<void(const PreprocessProgress&)> on_document;
  /// Called with FILE:LINE and the reason for every line left out by skip_bad_lines, in order.
  std::function<void(const std::string&)> on_bad_line;
  /// Called once with a sentence worth telling.
  std::function<void(const std::string&)> on_notice;
  /// Set from outside to stop; the run then ends with a RunError and leaves nothing behind.
  const std::atomic<bool>* stop = nullptr;
};

/// Writes all datasets and returns the final counts. Throws UsageError for a mistake in flags or
/// corpus, RunError for a full disk or an interruption; no output is left in either case.
PreprocessProgress preprocess(const PreprocessConfig& config, const Tokenizer& tokenizer,
                              const PreprocessHooks& hooks);

}  // namespace megalith

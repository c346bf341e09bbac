#include "megalith/data/preprocess.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <thread>

#include "megalith/core/error.hpp"
#include "megalith/data/document_encoder.hpp"
#include "megalith/data/indexed_dataset_writer.hpp"
#include "megalith/data/ordered_pipeline.hpp"

namespace megalith {
namespace {

using Pipeline = OrderedPipeline<RawBatch, EncodedBatch>;

constexpr int64_t kBatchBytes = 256 << 10;
constexpr int64_t kMaxBatchDocuments = 1024;
constexpr int64_t kMaxFlyingBytes = 64 << 20;

void stop_if_asked(const PreprocessHooks& hooks) {
  if (hooks.stop != nullptr && hooks.stop->load()) {
    throw RunError("interrupted; the unfinished output was removed");
  }
}

std::vector<CorpusFile> list_input(const PreprocessConfig& config, const PreprocessHooks& hooks) {
  int64_t skipped = 0;
  auto files = list_corpus_files(config.input, skipped);
  if (skipped > 0 && hooks.on_notice) {
    hooks.on_notice(
        fmt::format("{} files in the input folders are neither text nor JSON by name and "
                    "are left out",
                    skipped));
  }
  const bool has_text = std::ranges::any_of(files, [](const auto& file) { return !file.is_json; });
  if (has_text && config.json_keys.size() > 1) {
    throw UsageError("--json-keys {}: plain text has no keys; give one key, or JSON lines alone",
                     fmt::join(config.json_keys, " "));
  }
  if (!has_text && config.document_separator == DocumentSeparator::kBlankLine) {
    throw UsageError(
        "--document-separator blank-line: the input holds no plain text (*.txt) to cut");
  }
  return files;
}

EncoderOptions encoder_options(const PreprocessConfig& config,
                               const std::vector<CorpusFile>& files) {
  EncoderOptions options{.keys = config.json_keys,
                         .file_names = {},
                         .skip_bad_lines = config.skip_bad_lines,
                         .split_sentences = config.split_sentences,
                         .keep_newlines = config.keep_newlines,
                         .language = config.language,
                         .append_eod = config.append_eod};
  for (const auto& file : files) options.file_names.push_back(file.path);
  return options;
}

/// Reads documents until the batch is worth a hand-over. A large document travels alone.
bool read_batch(CorpusReader& reader, RawBatch& batch, const PreprocessHooks& hooks) {
  stop_if_asked(hooks);
  while (batch.text_bytes < kBatchBytes &&
         static_cast<int64_t>(batch.documents.size()) < kMaxBatchDocuments) {
    RawDocument document;
    if (!reader.next(document)) break;
    batch.text_bytes += static_cast<int64_t>(document.text.size());
    batch.documents.push_back(std::move(document));
  }
  return !batch.documents.empty();
}

/// The end of the pipeline: takes batches in order, writes them and counts.
class DatasetsWriter {
 public:
  DatasetsWriter(const PreprocessConfig& config, TokenType type, const PreprocessHooks& hooks)
      : hooks_(hooks), start_(std::chrono::steady_clock::now()) {
    for (const auto& prefix : config.output_prefixes()) {
      writers_.push_back(std::make_unique<IndexedDatasetWriter>(prefix, type));
    }
  }

  void write(const EncodedBatch& batch) {
    for (const auto& line : batch.bad_lines) {
      ++progress_.bad_lines;
      if (hooks_.on_bad_line) hooks_.on_bad_line(line);
    }
    std::vector<Cursor> cursors(writers_.size());
    for (size_t d = 0; d < batch.positions.size(); ++d) {
      stop_if_asked(hooks_);
      int64_t tokens = 0;
      for (size_t k = 0; k < writers_.size(); ++k) {
        tokens += write_document(batch.keys[k], d, cursors[k], *writers_[k]);
      }
      ++progress_.documents;
      progress_.empty_documents += tokens == 0;
      progress_.tokens += tokens;
      progress_.text_bytes += batch.text_bytes[d];
      report(batch.positions[d]);
    }
    progress_.input_bytes = batch.last_position;
  }

  PreprocessProgress commit() {
    for (const auto& writer : writers_) writer->prepare();
    stop_if_asked(hooks_);
    for (const auto& writer : writers_) writer->commit();
    progress_.seconds = elapsed();
    return progress_;
  }

  PreprocessProgress& progress() { return progress_; }

 private:
  /// How far a key of a batch was written.
  struct Cursor {
    size_t sequence = 0, id = 0;
  };

  static int64_t write_document(const EncodedKey& key, size_t document, Cursor& cursor,
                                IndexedDatasetWriter& writer) {
    const auto ids = std::span<const int32_t>(key.ids);
    const size_t first = cursor.id;
    for (int64_t s = 0; s < key.sequences_in_document[document]; ++s) {
      const auto length = static_cast<size_t>(key.sequence_lengths[cursor.sequence++]);
      writer.append_sequence(ids.subspan(cursor.id, length));
      cursor.id += length;
    }
    writer.end_document();
    return static_cast<int64_t>(cursor.id - first);
  }

  double elapsed() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

  void report(int64_t position) {
    if (!hooks_.on_document) return;
    progress_.input_bytes = position;
    progress_.seconds = elapsed();
    hooks_.on_document(progress_);
  }

  const PreprocessHooks& hooks_;
  std::chrono::steady_clock::time_point start_;
  std::vector<std::unique_ptr<IndexedDatasetWriter>> writers_;
  PreprocessProgress progress_;
};

int64_t num_workers(const PreprocessConfig& config) {
  if (config.workers > 0) return config.workers;
  return std::max<int64_t>(1, std::thread::hardware_concurrency());
}

}  // namespace

FieldList PreprocessConfig::fields() {
  return {
      {"input", &input,
       "Files and folders to read, in this order; a folder gives its files sorted by name. JSON "
       "lines, "
       "or plain text (*.txt); gzip and zstd are unpacked."},
      {"json-keys", &json_keys, "Keys of each JSON object to take text from, one dataset each."},
      {"document-separator", choice(document_separator, {"file", "blank-line"}),
       "What ends a document in plain text."},
      {"blank-lines", &blank_lines,
       "With --document-separator blank-line: how many of them in a row end a document, fewer stay "
       "inside. 1 gives paragraphs; 2 or 3 the chapters of most books of Project Gutenberg.",
       at_least(1)},
      {"skip-bad-lines", &skip_bad_lines,
       "Leave broken lines out and count them, instead of stopping at the first."},
      {"split-sentences", &split_sentences,
       "Cut documents into sentences, a sequence each (for BERT), by the Unicode rules."},
      {"keep-newlines", &keep_newlines, "Keep line ends between sentences when splitting."},
      {"lang", &language, "Language of the sentences."},
      {"append-eod", &append_eod, "Append the end-of-text id to every document."},
      {"output-prefix", &output_prefix,
       "Path of the output without its ending; PREFIX_<key>_document.bin and .idx are written (or "
       "_sentence)."},
      {"workers", &workers, "Threads that tokenize; 0 means one for each core.", between(0, 1024),
       "cores"},
      {"log-interval", &log_interval, "Documents between two lines of progress in a log.",
       at_least(1)},
  };
}

std::vector<std::string> PreprocessConfig::output_prefixes() const {
  std::vector<std::string> prefixes;
  for (const auto& key : json_keys) {
    prefixes.push_back(
        fmt::format("{}_{}_{}", output_prefix, key, split_sentences ? "sentence" : "document"));
  }
  return prefixes;
}

void PreprocessConfig::check(Problems& problems) const {
  if (input.empty()) problems.add_missing("input", "name the files or folders to read");
  if (output_prefix.empty()) {
    problems.add_missing("output-prefix", "name the path of the output, such as data/corpus");
  }
  if (json_keys.empty() && !problems.was_refused("json-keys")) {
    problems.add("--json-keys is empty; expected at least one key");
  }
  for (const auto& key : json_keys) {
    if (key.empty() || key.find('/') != std::string::npos) {
      problems.add(
          "--json-keys '{}': the key is part of a file name; it may not be empty or hold '/'", key);
    }
  }
  if (std::set<std::string>(json_keys.begin(), json_keys.end()).size() != json_keys.size()) {
    problems.add("--json-keys {}: a key is named twice", fmt::join(json_keys, " "));
  }
  if (blank_lines != 1 && document_separator != DocumentSeparator::kBlankLine) {
    problems.add("--blank-lines {} has no meaning without --document-separator blank-line",
                 blank_lines);
  }
  if (keep_newlines && !split_sentences) {
    problems.add("--keep-newlines only concerns sentences; give --split-sentences too");
  }
}

PreprocessProgress preprocess(const PreprocessConfig& config, const Tokenizer& tokenizer,
                              const PreprocessHooks& hooks) {
  Problems problems;
  config.check(problems);
  problems.raise_if_any();
  if (config.append_eod) tokenizer.require_eod("--append-eod");
  CorpusReader reader(list_input(config, hooks), config.document_separator, config.blank_lines);
  const EncoderOptions options = encoder_options(config, reader.files());
  DatasetsWriter writer(config, token_type_for_vocabulary(tokenizer.vocab_size()), hooks);
  writer.progress().input_bytes_total = reader.total_bytes();

  const int64_t workers = num_workers(config);
  Pipeline pipeline(
      {.produce = [&](RawBatch& batch) { return read_batch(reader, batch, hooks); },
       .make_worker =
           [&] {
             auto encoder = std::make_shared<DocumentEncoder>(options, tokenizer);
             return [encoder](RawBatch&& batch) { return encoder->encode(batch); };
           },
       .consume = [&](EncodedBatch&& batch) { writer.write(batch); },
       .weight = [](const RawBatch& batch) { return batch.text_bytes; }},
      {.num_workers = workers, .max_items = 4 * workers + 4, .max_weight = kMaxFlyingBytes});
  pipeline.run();
  if (writer.progress().documents == 0) {
    throw UsageError("--input {}: holds no document{}", fmt::join(config.input, " "),
                     writer.progress().bad_lines > 0 ? "; every line is broken" : "");
  }
  return writer.commit();
}

}  // namespace megalith

#include "megalith/tasks/text_source.hpp"

#include <algorithm>
#include <filesystem>

#include "megalith/data/corpus_reader.hpp"
#include "megalith/data/indexed_dataset.hpp"
#include "megalith/data/text_stream.hpp"
#include "megalith/tasks/token_stream.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBlockBytes = 1 << 18;
constexpr int64_t kBlockTokens = 1 << 16;

bool is_json_name(const std::string& path) {
  fs::path name = fs::path(path).filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  const auto ending = name.extension();
  return ending == ".jsonl" || ending == ".json" || ending == ".ndjson";
}

void report_progress(const TextReading& reading, int64_t bytes) {
  if (reading.on_progress) reading.on_progress(bytes);
}

void read_plain(const TextSource& source, const TextReading& reading) {
  const auto stream = open_text_stream(source.path);
  std::vector<char> block(kBlockBytes);
  while (const size_t count = stream->read(block)) {
    const std::string_view piece(block.data(), count);
    if (piece.find('\0') != std::string_view::npos) {
      throw UsageError("{}: is no text; give a text file, or an indexed dataset by its prefix",
                       source.path);
    }
    reading.on_piece(piece);
    report_progress(reading, stream->position());
  }
  reading.on_end();
}

void read_json(const TextSource& source, const TextReading& reading) {
  CorpusReader reader({{source.path, true, source.size_bytes}}, DocumentSeparator::kFile);
  JsonLineParser parser(reading.json_keys);
  for (RawDocument document; reader.next(document);) {
    try {
      for (const auto& texts : parser.parse(document.text)) {
        for (const auto text : texts) {
          reading.on_piece(text);
          reading.on_end();
        }
      }
    } catch (const UsageError& error) {
      throw UsageError("{}: line {}: {}", source.path, document.line, error.what());
    }
    report_progress(reading, document.position);
  }
}

/// Decodes the ids of a sequence as they come; a piece's text may depend on the id before it.
class PiecewiseDecoder {
 public:
  PiecewiseDecoder(const Tokenizer& tokenizer, const TextReading& reading)
      : tokenizer_(tokenizer), reading_(reading) {}

  void add(int32_t id) {
    if (tokenizer_.eod() == id) return end();
    ids_.push_back(id);
    if (static_cast<int64_t>(ids_.size()) > kBlockTokens) flush();
  }
  void end() {
    flush();
    ids_.clear();
    shown_ = 0;
    reading_.on_end();
  }

 private:
  void flush() {
    if (ids_.empty()) return;
    const std::string text = tokenizer_.decode_bytes(ids_);
    reading_.on_piece(std::string_view(text).substr(shown_));
    ids_ = {ids_.back()};
    shown_ = tokenizer_.decode_bytes(ids_).size();
  }

  const Tokenizer& tokenizer_;
  const TextReading& reading_;
  std::vector<int32_t> ids_;
  size_t shown_ = 0;  // bytes of their text that were handed out: of the first id
};

void read_dataset(const TextSource& source, const TextReading& reading) {
  const IndexedDataset dataset(source.path);
  const int64_t vocab_size = reading.tokenizer->vocab_size();
  PiecewiseDecoder decoder(*reading.tokenizer, reading);
  int64_t done = 0;
  for (int64_t sequence = 0; sequence < dataset.num_sequences(); ++sequence) {
    const int64_t length = dataset.sequence_lengths()[sequence];
    for (int64_t offset = 0; offset < length; offset += kBlockTokens) {
      const auto ids = dataset.read(sequence, offset, std::min(kBlockTokens, length - offset));
      for (const int64_t id : ids) {
        if (id < 0 || id >= vocab_size) {
          throw UsageError(
              "{}: document {} holds the id {}, and the tokenizer knows 0 to {}; give the flags of "
              "the tokenizer the dataset was made with",
              source.path, dataset.document_of_sequence(sequence), id, vocab_size - 1);
        }
        decoder.add(static_cast<int32_t>(id));
      }
      done += static_cast<int64_t>(ids.size()) * token_size(dataset.token_type());
      report_progress(reading, done);
    }
    decoder.end();
  }
}

}  // namespace

TextSource describe_source(const std::string& path, const std::string& flag, Problems& problems) {
  std::error_code error;
  TextSource source{.path = path};
  if (fs::exists(path + ".idx", error)) {
    source.kind = SourceKind::kDataset;
    const auto size = fs::file_size(path + ".bin", error);
    source.size_bytes = error ? 0 : static_cast<int64_t>(size);
    return source;
  }
  if (!fs::exists(path, error)) {
    problems.add("--{} {}: there is no such file, and no dataset of that prefix ({}.idx)", flag,
                 path, path);
  } else if (fs::is_directory(path, error)) {
    problems.add("--{} {}: is a folder; give files, or the prefix of an indexed dataset", flag,
                 path);
  }
  source.kind = is_json_name(path) ? SourceKind::kJsonLines : SourceKind::kText;
  const auto size = fs::file_size(path, error);
  source.size_bytes = error ? 0 : static_cast<int64_t>(size);
  return source;
}

void read_texts(const TextSource& source, const TextReading& reading) {
  switch (source.kind) {
    case SourceKind::kText:
      return read_plain(source, reading);
    case SourceKind::kJsonLines:
      return read_json(source, reading);
    case SourceKind::kDataset:
      return read_dataset(source, reading);
  }
}

}  // namespace megalith

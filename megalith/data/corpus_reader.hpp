// The documents of a corpus, one after another: JSON lines and plain text, also packed by gzip or
// zstd.
//
// Reading only cuts the files into documents; JsonLineParser takes the text out of a line, so that
// worker threads can do it. Promise: documents come in the order of the files as named and of the
// lines in them, and memory holds one line (JSON), one paragraph or one file (plain text) at a
// time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace megalith {

/// How a file ending in .txt is cut into documents.
enum class DocumentSeparator { kFile, kBlankLine };

/// A file of the corpus: JSON lines unless its name ends in .txt, .txt.gz or .txt.zst.
struct CorpusFile {
  std::string path;
  bool is_json = true;
  int64_t size_bytes = 0;
};

/// Turns files and folders into files; a folder gives the files below it with a known ending,
/// sorted by path. Throws UsageError listing every name that does not exist or gives no file.
/// `skipped` counts files of other endings in folders.
std::vector<CorpusFile> list_corpus_files(const std::vector<std::string>& inputs, int64_t& skipped);

/// One document as it lies in the corpus: a line of JSON, or text.
struct RawDocument {
  std::string text;  // JSON: with room behind it for the parser to read past the end
  bool is_json = true;
  int64_t file_index = 0;
  int64_t line = 0;      // from 1; 0 for plain text
  int64_t position = 0;  // bytes of all files that were read up to here, for progress
};

class CorpusReader {
 public:
  /// kBlankLine: `blank_lines` or more in a row end a document, fewer stay inside it.
  CorpusReader(std::vector<CorpusFile> files, DocumentSeparator separator, int64_t blank_lines = 1);
  ~CorpusReader();

  /// The next document, or false at the end. Blank lines are no documents.
  /// Throws UsageError when a file cannot be read, or is UTF-16.
  bool next(RawDocument& document);

  const std::vector<CorpusFile>& files() const { return files_; }
  int64_t total_bytes() const { return total_bytes_; }

 private:
  class LineReader;
  bool next_in_file(RawDocument& document);

  std::vector<CorpusFile> files_;
  DocumentSeparator separator_;
  int64_t blank_lines_;
  std::unique_ptr<LineReader> lines_;
  size_t file_index_ = 0;
  int64_t total_bytes_ = 0, bytes_before_ = 0;
};

/// Takes the texts of the wanted keys out of lines of JSON. One for each thread.
class JsonLineParser {
 public:
  explicit JsonLineParser(std::vector<std::string> keys);
  ~JsonLineParser();

  /// One list of texts for each key, in the order of the keys; a JSON list of strings gives
  /// several. They live until the next call. `line` must come from a CorpusReader. Throws
  /// UsageError with the reason alone when the line is broken or lacks a key.
  const std::vector<std::vector<std::string_view>>& parse(const std::string& line);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace megalith

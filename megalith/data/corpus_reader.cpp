#include "megalith/data/corpus_reader.hpp"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <span>

#include "megalith/core/error.hpp"
#include "megalith/data/text_stream.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBufferBytes = 1 << 18;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr std::array<std::string_view, 4> kKnownEndings = {".txt", ".jsonl", ".json", ".ndjson"};

/// The name's ending in front of .gz and .zst.
std::string text_ending(const fs::path& path) {
  fs::path name = path.filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  return name.extension().string();
}

CorpusFile describe(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return {path.string(), text_ending(path) != ".txt", error ? 0 : static_cast<int64_t>(size)};
}

void list_folder(const std::string& folder, std::vector<CorpusFile>& files, int64_t& skipped,
                 Problems& problems) {
  std::vector<fs::path> found;
  std::error_code error;
  auto entries = fs::recursive_directory_iterator(folder, error);
  for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    if (!entries->is_regular_file()) continue;
    const bool known =
        std::ranges::find(kKnownEndings, text_ending(entries->path())) != kKnownEndings.end();
    if (known) {
      found.push_back(entries->path());
    } else {
      ++skipped;
    }
  }
  if (error) problems.add("{}: cannot list the folder: {}", folder, error.message());
  if (found.empty() && !error) {
    problems.add("{}: no file in this folder ends in {} (or these with .gz or .zst)", folder,
                 fmt::join(kKnownEndings, ", "));
  }
  std::ranges::sort(found);
  for (const auto& path : found) files.push_back(describe(path));
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\v\f") == std::string_view::npos;
}

}  // namespace

std::vector<CorpusFile> list_corpus_files(const std::vector<std::string>& inputs,
                                          int64_t& skipped) {
  std::vector<CorpusFile> files;
  Problems problems;
  skipped = 0;
  for (const auto& input : inputs) {
    std::error_code error;
    if (fs::is_directory(input, error)) {
      list_folder(input, files, skipped, problems);
    } else if (fs::exists(input, error)) {
      files.push_back(describe(input));
    } else {
      problems.add("--input {}: no such file or folder", input);
    }
  }
  problems.raise_if_any();
  return files;
}

/// Lines of one file; a byte order mark at its start is dropped.
class CorpusReader::LineReader {
 public:
  explicit LineReader(const std::string& path)
      : path_(path), stream_(open_text_stream(path)), buffer_(kBufferBytes) {
    while (end_ < kByteOrderMark.size() && fill()) {
    }
    const std::string_view head(buffer_.data(), end_);
    if (head.starts_with(kByteOrderMark)) begin_ = kByteOrderMark.size();
    if (head.starts_with("\xff\xfe") || head.starts_with("\xfe\xff")) {
      throw UsageError("{}: is UTF-16; convert it to UTF-8 first, as with iconv -f UTF-16 -t UTF-8",
                       path);
    }
  }

  /// Appends the next line and its LF, if it has one; false at the end of the file.
  bool append_line(std::string& line) {
    const size_t before = line.size();
    while (begin_ < end_ || fill()) {
      const char* start = buffer_.data() + begin_;
      const auto* mark = static_cast<const char*>(std::memchr(start, '\n', end_ - begin_));
      const size_t n = mark == nullptr ? end_ - begin_ : static_cast<size_t>(mark - start) + 1;
      line.append(start, n);
      begin_ += n;
      if (mark != nullptr) break;
    }
    line_ += line.size() > before;
    return line.size() > before;
  }

  void append_rest(std::string& text) {
    while (begin_ < end_ || fill()) {
      text.append(buffer_.data() + begin_, end_ - begin_);
      begin_ = end_;
    }
  }

  int64_t line() const { return line_; }
  int64_t position() const { return stream_->position(); }

 private:
  bool fill() {
    if (begin_ == end_) begin_ = end_ = 0;
    const size_t n = stream_->read(std::span(buffer_).subspan(end_));
    end_ += n;
    return n > 0;
  }

  std::string path_;
  std::unique_ptr<TextStream> stream_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  int64_t line_ = 0;
};

CorpusReader::CorpusReader(std::vector<CorpusFile> files, DocumentSeparator separator,
                           int64_t blank_lines)
    : files_(std::move(files)), separator_(separator), blank_lines_(blank_lines) {
  for (const auto& file : files_) total_bytes_ += file.size_bytes;
}

CorpusReader::~CorpusReader() = default;

bool CorpusReader::next(RawDocument& document) {
  while (file_index_ < files_.size()) {
    const CorpusFile& file = files_[file_index_];
    const bool whole_file = !file.is_json && separator_ == DocumentSeparator::kFile;
    document.text.clear();
    document.is_json = file.is_json;
    document.file_index = static_cast<int64_t>(file_index_);
    document.line = 0;
    if (!lines_) {
      lines_ = std::make_unique<LineReader>(file.path);
      if (whole_file) {
        lines_->append_rest(document.text);
        document.position = bytes_before_ + lines_->position();
        return true;
      }
    }
    if (!whole_file && next_in_file(document)) {
      document.position = bytes_before_ + lines_->position();
      return true;
    }
    bytes_before_ += lines_->position();
    lines_.reset();
    ++file_index_;
  }
  return false;
}

bool CorpusReader::next_in_file(RawDocument& document) {
  std::string& text = document.text;
  size_t start = 0;         // of the line just appended
  size_t end = 0;           // of the last line that is not blank
  int64_t blank_lines = 0;  // since then
  while (lines_->append_line(text)) {
    const std::string_view line(text.data() + start, text.size() - start - (text.back() == '\n'));
    const bool blank = is_blank(line);
    if (document.is_json && !blank) {
      text.resize(line.size());
      text.reserve(text.size() + simdjson::SIMDJSON_PADDING);
      document.line = lines_->line();
      return true;
    }
    if (!blank) {
      end = text.size();
      blank_lines = 0;
    } else if (end == 0) {
      text.clear();
    } else if (++blank_lines == blank_lines_) {
      break;
    }
    start = text.size();
  }
  text.resize(end);
  // The end of a document's last line is no part of it.
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return end > 0;
}

struct JsonLineParser::State {
  std::vector<std::string> keys;
  simdjson::dom::parser parser;
  std::vector<std::vector<std::string_view>> texts;
};

JsonLineParser::JsonLineParser(std::vector<std::string> keys) : state_(std::make_unique<State>()) {
  state_->texts.resize(keys.size());
  state_->keys = std::move(keys);
}

JsonLineParser::~JsonLineParser() = default;

namespace {

const char* kind_name(simdjson::dom::element_type type) {
  using Type = simdjson::dom::element_type;
  switch (type) {
    case Type::ARRAY:
      return "a list";
    case Type::OBJECT:
      return "an object";
    case Type::STRING:
      return "a string";
    case Type::BOOL:
      return "true or false";
    case Type::NULL_VALUE:
      return "null";
    default:
      return "a number";
  }
}

void take_texts(const std::string& key, const simdjson::dom::element& value,
                std::vector<std::string_view>& texts) {
  texts.clear();
  if (value.is_string()) {
    texts.push_back(value.get_string().value_unsafe());
    return;
  }
  simdjson::dom::array items;
  if (value.get(items) != simdjson::SUCCESS) {
    throw UsageError("key '{}' holds {}; expected a string or a list of strings", key,
                     kind_name(value.type()));
  }
  for (const auto item : items) {
    if (!item.is_string()) {
      throw UsageError("key '{}' holds a list with {} in it; expected strings alone", key,
                       kind_name(item.type()));
    }
    texts.push_back(item.get_string().value_unsafe());
  }
}

std::string known_keys(const simdjson::dom::object& object) {
  std::vector<std::string_view> names;
  for (const auto& field : object) names.push_back(field.key);
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

const std::vector<std::vector<std::string_view>>& JsonLineParser::parse(const std::string& line) {
  simdjson::dom::element root;
  const auto error = state_->parser.parse(line.data(), line.size(), false).get(root);
  if (error != simdjson::SUCCESS) {
    throw UsageError("not valid JSON: {}", simdjson::error_message(error));
  }
  simdjson::dom::object object;
  if (root.get(object) != simdjson::SUCCESS) {
    throw UsageError("holds {}; expected an object such as {{\"{}\": \"...\"}}",
                     kind_name(root.type()), state_->keys.front());
  }
  for (size_t k = 0; k < state_->keys.size(); ++k) {
    bool found = false;
    for (const auto& field : object) {  // of a key given twice, the last counts
      if (field.key != state_->keys[k]) continue;
      take_texts(state_->keys[k], field.value, state_->texts[k]);
      found = true;
    }
    if (!found) {
      throw UsageError("has no key '{}'; its keys: {} (--json-keys picks)", state_->keys[k],
                       known_keys(object));
    }
  }
  return state_->texts;
}

}  // namespace megalith

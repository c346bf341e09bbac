#include "megalith/tokenizer/tokenize_file.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "megalith/core/atomic_file.hpp"

namespace megalith {
namespace {

constexpr size_t kBlockBytes = 1 << 20;
constexpr int64_t kFirstWideVocabulary = 65'536;  // ids no longer fit into 16 bits

/// A file, or standard input for no name or "-".
class Input {
 public:
  explicit Input(const std::string& path)
      : name_(path.empty() || path == "-" ? "standard input" : path) {
    if (path.empty() || path == "-") return;
    file_ = std::fopen(name_.c_str(), "rb");
    if (file_ == nullptr) throw UsageError(system_error_text(name_, "open"));
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;
  ~Input() {
    if (file_ != stdin) std::fclose(file_);
  }

  /// Appends the next block to `text`. Returns false at the end.
  bool read(std::string& text) {
    const size_t size = text.size();
    text.resize(size + kBlockBytes);
    const size_t count = std::fread(text.data() + size, 1, kBlockBytes, file_);
    text.resize(size + count);
    if (std::ferror(file_)) {
      if (errno == EISDIR) throw UsageError("{}: is a folder; give a file", name_);
      throw RunError(system_error_text(name_, "read"));
    }
    return count > 0;
  }
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  FILE* file_ = stdin;
};

/// Standard output, or a file that appears whole at finish().
class Output {
 public:
  explicit Output(const std::optional<std::string>& path) {
    if (path) file_ = std::make_unique<AtomicFile>(*path);
  }
  bool is_file() const { return file_ != nullptr; }
  void write(std::string_view text) {
    if (file_) return file_->write(text);
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) fail();
  }
  void finish() {
    if (file_) return file_->commit();
    if (std::fflush(stdout) != 0) fail();
  }

 private:
  [[noreturn]] static void fail() { throw RunError(system_error_text("standard output", "write")); }
  std::unique_ptr<AtomicFile> file_;
};

/// Calls `each` for every line without its LF; the last need not have one.
void for_each_line(Input& input, const std::function<void(std::string_view)>& each) {
  std::string text;
  for (size_t searched = 0; input.read(text);) {
    size_t begin = 0;
    for (size_t end; (end = text.find('\n', std::max(begin, searched))) != std::string::npos;) {
      each(std::string_view(text).substr(begin, end - begin));
      begin = end + 1;
    }
    text.erase(0, begin);
    searched = text.size();
  }
  if (!text.empty()) each(text);
}

/// Calls `each` with parts of the text that may be encoded one by one.
void for_each_part(const Tokenizer& tokenizer, Input& input,
                   const std::function<void(std::string_view)>& each) {
  std::string text;
  while (input.read(text)) {
    // Only what came last can hold a new cut; a text without spaces is not searched again and
    // again.
    const size_t old = text.size() > kBlockBytes ? text.size() - kBlockBytes - 1 : 0;
    const size_t cut = tokenizer.last_safe_cut(std::string_view(text).substr(old));
    if (cut == 0) continue;
    each(std::string_view(text).substr(0, old + cut));
    text.erase(0, old + cut);
  }
  if (!text.empty()) each(text);
}

void append_binary(std::string& bytes, const std::vector<int32_t>& ids, bool wide) {
  for (const int32_t id : ids) {
    for (int shift = 0; shift < (wide ? 32 : 16); shift += 8) {
      bytes += static_cast<char>(static_cast<uint32_t>(id) >> shift & 0xFF);
    }
  }
}

void append_joined(std::string& text, const std::vector<int32_t>& ids, bool& first) {
  for (const int32_t id : ids) {
    if (!first) text += ',';
    text += fmt::format_int(id).c_str();
    first = false;
  }
}

void encode(const Tokenizer& tokenizer, const TokenizeOptions& options, Input& input,
            Output& output) {
  const bool binary = output.is_file();
  const bool wide = tokenizer.vocab_size() >= kFirstWideVocabulary;
  std::vector<int32_t> ids;
  std::string out;
  bool first = true;
  const auto add = [&](std::string_view text) {
    ids.clear();
    tokenizer.append_ids(text, ids);
    binary ? append_binary(out, ids, wide) : append_joined(out, ids, first);
    if (out.size() < kBlockBytes) return;
    output.write(out);
    out.clear();
  };
  if (options.lines) {
    for_each_line(input, [&](std::string_view line) {
      if (!binary) out += '[';
      first = true;
      add(line);
      if (!binary) out += "]\n";
    });
  } else {
    if (!binary) out += '[';
    for_each_part(tokenizer, input, add);
    if (!binary) out += "]\n";
  }
  output.write(out);
  output.finish();
}

[[noreturn]] void refuse_ids(std::string_view text, const std::string& source) {
  throw UsageError(
      "{}: '{}' is no list of token ids; give JSON arrays, numbers, or "
      "--ids binary for a file made by --output",
      source, text.substr(0, 30));
}

/// Numbers with white space or commas between them.
void append_bare_ids(std::string_view text, const std::string& source, std::vector<int32_t>& ids) {
  constexpr std::string_view kBetween = ", \t\r\n";
  for (size_t at = text.find_first_not_of(kBetween); at < text.size();
       at = text.find_first_not_of(kBetween, at)) {
    int32_t id = 0;
    const auto [stop, error] = std::from_chars(text.data() + at, text.data() + text.size(), id);
    const auto end = static_cast<size_t>(stop - text.data());
    const bool whole = end == text.size() || kBetween.find(text[end]) != std::string_view::npos;
    if (error != std::errc() || !whole) refuse_ids(text.substr(at), source);
    ids.push_back(id);
    at = end;
  }
}

/// The ids in "[1, 2]", "1 2" or several of them; anything else is an error.
std::vector<int32_t> parse_ids(std::string_view text, const std::string& source) {
  std::vector<int32_t> ids;
  size_t at = 0;
  for (size_t open; (open = text.find('[', at)) != std::string_view::npos;) {
    append_bare_ids(text.substr(at, open - at), source, ids);
    const size_t close = std::min(text.find(']', open), text.size() - 1);
    const std::string_view array = text.substr(open, close + 1 - open);
    const auto json = nlohmann::json::parse(array, nullptr, /*allow_exceptions=*/false);
    if (!json.is_array()) refuse_ids(array, source);
    for (const auto& item : json) {
      if (!item.is_number_integer()) refuse_ids(array, source);
      const auto id = item.get<int64_t>();
      if (id != static_cast<int32_t>(id)) refuse_ids(array, source);
      ids.push_back(static_cast<int32_t>(id));
    }
    at = close + 1;
  }
  append_bare_ids(text.substr(at), source, ids);
  return ids;
}

bool looks_like_text(std::string_view bytes) {
  return bytes.find_first_not_of("-0123456789[], \t\r\n") == std::string_view::npos;
}

std::vector<int32_t> unpack_ids(std::string_view bytes, bool wide, const std::string& source) {
  const size_t width = wide ? 4 : 2;
  if (bytes.size() % width != 0) {
    throw UsageError(
        "{}: {} bytes are no whole number of {}-byte ids; give a file made by "
        "--output with this vocabulary, or ids as text",
        source, bytes.size(), width);
  }
  std::vector<int32_t> ids(bytes.size() / width);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<uint32_t>(static_cast<uint8_t>(bytes[i]));
    ids[i / width] |= static_cast<int32_t>(byte << (8 * (i % width)));
  }
  return ids;
}

void decode(const Tokenizer& tokenizer, const TokenizeOptions& options, Input& input,
            Output& output) {
  if (options.lines) {
    for_each_line(input, [&](std::string_view line) {
      output.write(tokenizer.decode(parse_ids(line, input.name())) + "\n");
    });
  } else {
    std::string bytes;
    while (input.read(bytes)) {
    }
    const bool text = options.ids == IdFormat::kText ||
                      (options.ids == IdFormat::kAuto && looks_like_text(bytes));
    const bool wide = tokenizer.vocab_size() >= kFirstWideVocabulary;
    output.write(tokenizer.decode(text ? parse_ids(bytes, input.name())
                                       : unpack_ids(bytes, wide, input.name())));
  }
  output.finish();
}

}  // namespace

FieldList TokenizeOptions::fields() {
  return {
      {"lines", &lines,
       "One text a line, and one JSON array a line. Lines end at LF only; an empty line gives "
       "[]. With --decode: one text for each line of ids."},
      {"decode", &decode,
       "Turn ids back into text: JSON arrays, bare numbers, or a file made by --output."},
      {"ids", choice(ids, {"auto", "text", "binary"}),
       "What --decode reads. auto takes a file for text when it holds only digits, brackets, "
       "commas and white space."},
      {"output", &output,
       "Write to this file instead of standard output: the ids alone as little-endian uint16 "
       "(int32 from 65,536 entries), without end marks; with --decode, the text."},
  };
}

void tokenize_file(const Tokenizer& tokenizer, const TokenizeOptions& options,
                   const std::string& input_path) {
  Input input(input_path);
  Output output(options.output);
  (options.decode ? decode : encode)(tokenizer, options, input, output);
}

}  // namespace megalith

#include "cli/run_file.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>

#include "megalith/core/atomic_file.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith::cli {
namespace {

constexpr size_t kMaxMistakesShown = 10;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

bool is_bare(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

/// What is wrong with the text, without its place.
struct SyntaxError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class RunFileReader {
 public:
  RunFileReader(const std::string& path, std::string_view text, Problems& problems)
      : path_(path), text_(text), problems_(problems) {
    if (text_.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
  }

  std::vector<RunFileSetting> read() {
    std::vector<RunFileSetting> settings;
    size_t mistakes = 0;
    while (at_ < text_.size()) {
      const int64_t line = line_;
      try {
        if (auto setting = read_line()) settings.push_back(std::move(*setting));
      } catch (const SyntaxError& error) {
        if (++mistakes > kMaxMistakesShown) {
          problems_.add("{}:{}: and further lines that are no settings", path_, line);
          break;
        }
        problems_.add("{}:{}: {}", path_, line_, error.what());
        skip_line();
      }
    }
    return settings;
  }

 private:
  std::optional<RunFileSetting> read_line() {
    skip_blanks();
    if (at_end_of_line()) {
      finish_line();
      return std::nullopt;
    }
    if (peek() == '[') {
      throw SyntaxError(
          fmt::format("'{}' opens a table; a run file has none: leave the line out and write every "
                      "setting as flag = value",
                      rest_of_line()));
    }
    RunFileSetting setting;
    setting.place = place();
    setting.name = read_key();
    skip_blanks();
    if (peek() != '=') {
      throw SyntaxError(fmt::format(
          "expected '=' after '{}', got '{}'; write settings as flag = value, with dashes in the "
          "flag",
          setting.name, rest_of_line()));
    }
    ++at_;
    skip_blanks();
    read_value(setting);
    skip_blanks();
    if (!at_end_of_line()) {
      throw SyntaxError(fmt::format(
          "'{}' follows the value of '{}'; write one setting a line, several values as a list [1, "
          "2], and text in quotes",
          rest_of_line(), setting.name));
    }
    const auto [seen, is_new] = first_places_.emplace(setting.name, setting.place);
    if (!is_new) {
      throw SyntaxError(
          fmt::format("'{}' was set before, in {}; keep one of them", setting.name, seen->second));
    }
    finish_line();
    return setting;
  }

  std::string read_key() {
    if (peek() == '"' || peek() == '\'') return read_string();
    const size_t begin = at_;
    while (at_ < text_.size() && is_bare(text_[at_])) ++at_;
    std::string key(text_.substr(begin, at_ - begin));
    if (key.empty()) {
      throw SyntaxError(fmt::format("'{}' is no setting; write flag = value", rest_of_line()));
    }
    if (key.starts_with("--")) key.erase(0, 2);  // as on the command line
    return key;
  }

  void read_value(RunFileSetting& setting) {
    if (peek() != '[') {
      setting.words.push_back(read_single(setting.name));
      return;
    }
    setting.is_list = true;
    const int64_t opened = line_;
    ++at_;
    for (skip_space_in_list(); peek() != ']'; skip_space_in_list()) {
      if (at_ == text_.size()) {
        throw SyntaxError(
            fmt::format("the list of '{}' that starts in line {} has no end; close "
                        "it with ]",
                        setting.name, opened));
      }
      if (peek() == '[') {
        throw SyntaxError(fmt::format("'{}' holds a list in a list; one is enough", setting.name));
      }
      setting.words.push_back(read_single(setting.name));
      skip_space_in_list();
      if (peek() == ',') {
        ++at_;
      } else if (peek() != ']') {
        throw SyntaxError(fmt::format("expected ',' or ']' in the list of '{}', got '{}'",
                                      setting.name, rest_of_line()));
      }
    }
    ++at_;
  }

  /// A string, a number, true or false, as a word.
  std::string read_single(const std::string& name) {
    if (peek() == '"' || peek() == '\'') return read_string();
    const size_t begin = at_;
    while (at_ < text_.size() && (is_bare(text_[at_]) || text_[at_] == '+' || text_[at_] == '.')) {
      ++at_;
    }
    std::string word(text_.substr(begin, at_ - begin));
    if (word.empty()) {
      const std::string rest = rest_of_line();
      throw SyntaxError(
          rest.empty() || rest[0] == '#'
              ? fmt::format("'{}' has no value", name)
              : fmt::format("'{}' is no value for '{}'; text needs quotes", rest, name));
    }
    const bool is_number = word.find_first_of("0123456789") != std::string::npos &&
                           word.find_first_not_of("0123456789+-._eE") == std::string::npos;
    if (!is_number && word != "true" && word != "false" && word != "inf" && word != "nan") {
      const std::string rest = rest_of_line();
      const std::string value = word + rest.substr(0, rest.find_first_of(" ,]#"));
      throw SyntaxError(fmt::format("{} needs quotes: {} = \"{}\"", value, name, value));
    }
    std::erase(word, '_');
    if (word[0] == '+') word.erase(0, 1);
    return word;
  }

  std::string read_string() {
    const char quote = text_[at_];
    if (text_.substr(at_).starts_with(std::string(3, quote))) {
      throw SyntaxError("strings over several lines are not read; write the value on one line");
    }
    const size_t begin = at_++;
    std::string value;
    while (at_ < text_.size() && text_[at_] != '\n') {
      const char c = text_[at_++];
      if (c == quote) return value;
      if (c == '\\' && quote == '"') {
        read_escape(value);
      } else {
        value += c;
      }
    }
    at_ = begin;
    throw SyntaxError(
        fmt::format("the string {} has no end; close it with {}", rest_of_line(), quote));
  }

  void read_escape(std::string& value) {
    constexpr std::string_view kEscapes = "btnfr\"\\", kMeanings = "\b\t\n\f\r\"\\";
    const char c = peek();
    if (const size_t known = kEscapes.find(c); c != '\0' && known != std::string_view::npos) {
      value += kMeanings[known];
      ++at_;
      return;
    }
    throw SyntaxError(fmt::format(
        "'\\{}' is no escape that is read; write \\\\ for a backslash, or use single quotes", c));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool at_end_of_line() const {
    return at_ >= text_.size() || text_[at_] == '\n' || text_[at_] == '#';
  }
  void skip_blanks() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' ||
            (text_[at_] == '\r' && (at_ + 1 == text_.size() || text_[at_ + 1] == '\n')))) {
      ++at_;
    }
  }
  void skip_line() {
    at_ = std::min(text_.find('\n', at_), text_.size());
    finish_line();
  }
  /// From the end of a line, or the comment there, to the start of the next.
  void finish_line() {
    at_ = std::min(text_.find('\n', at_), text_.size());
    if (at_ < text_.size()) ++at_, ++line_;
  }
  void skip_space_in_list() {
    for (skip_blanks(); at_ < text_.size() && at_end_of_line(); skip_blanks()) finish_line();
  }
  std::string rest_of_line() const {
    const size_t end = std::min(text_.find('\n', at_), text_.size());
    std::string rest(text_.substr(at_, std::min<size_t>(end - at_, 60)));
    if (rest.ends_with('\r')) rest.pop_back();
    return rest;
  }
  std::string place() const { return fmt::format("{}:{}", path_, line_); }

  const std::string& path_;
  std::string_view text_;
  Problems& problems_;
  std::map<std::string, std::string> first_places_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

}  // namespace

std::vector<RunFileSetting> read_run_file(const std::string& path, Problems& problems) {
  std::string text;
  try {
    text = read_text_file(path);
  } catch (const UsageError& error) {
    throw UsageError("--config {}; give the path of a run file in TOML", error.what());
  }
  std::string repaired;
  if (text.find('\0') != std::string::npos ||
      unicode::well_formed(text, repaired).data() != text.data()) {
    throw UsageError("--config {}: is not UTF-8 text; give the path of a run file in TOML", path);
  }
  return RunFileReader(path, text, problems).read();
}

}  // namespace megalith::cli

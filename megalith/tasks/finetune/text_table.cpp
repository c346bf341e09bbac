#include "megalith/tasks/finetune/text_table.hpp"

#include <algorithm>
#include <set>
#include <string_view>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/fields.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr int64_t kRowsForOneBroken = 1000;

bool is_utf8(std::string_view text) {
  std::string repaired;
  return unicode::well_formed(text, repaired).data() == text.data();
}

TextTable open_table(const std::string& path) {
  std::string text = read_text_file(path);
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  TextTable table;
  table.path = path;
  table.report = ReadReport(path);
  table.text = std::make_shared<const std::string>(std::move(text));
  table.unquoted = std::make_shared<std::deque<std::string>>();
  return table;
}

std::vector<std::string_view> split_at_tabs(std::string_view line) {
  std::vector<std::string_view> fields;
  for (size_t begin = 0;;) {
    const size_t tab = line.find('\t', begin);
    fields.emplace_back(line.substr(begin, tab - begin));
    if (tab == std::string_view::npos) return fields;
    begin = tab + 1;
  }
}

/// Takes the first row off as the columns' names.
void take_columns(TextTable& table) {
  if (table.rows.empty()) {
    throw UsageError("{}: is empty; expected a first line with the columns' names", table.path);
  }
  const auto& names = table.rows.front().fields;
  table.columns.assign(names.begin(), names.end());
  table.rows.erase(table.rows.begin());
  std::set<std::string> seen;
  for (const auto& column : table.columns) {
    if (!seen.insert(column).second) {
      throw UsageError("{}: line 1: two columns are named '{}'; every column needs its own name",
                       table.path, column);
    }
  }
}

/// Reads the fields of one row after another out of a CSV text.
class CsvReader {
 public:
  CsvReader(TextTable& table, FileMistakes& mistakes)
      : text_(*table.text), unquoted_(*table.unquoted), mistakes_(mistakes) {}

  /// False at the end of the text, or where no row can be made out any more.
  bool next(TableRow& row) {
    while (at_end_of_line() && at_ < text_.size()) end_line();
    if (at_ >= text_.size()) return false;
    row = {.fields = {}, .line = line_};
    for (;;) {
      row.fields.emplace_back();
      if (!read_field(row.fields.back())) return false;
      if (at_ >= text_.size()) return true;
      if (at_end_of_line()) return end_line(), true;
      ++at_;  // the comma
    }
  }

 private:
  bool at_end_of_line() const {
    return at_ >= text_.size() || text_[at_] == '\n' ||
           (text_[at_] == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n');
  }
  void end_line() {
    at_ += text_[at_] == '\r' ? 2 : 1;
    ++line_;
  }
  bool read_field(std::string_view& field) {
    if (at_ < text_.size() && text_[at_] == '"') return read_quoted(field);
    const size_t begin = at_;
    while (!at_end_of_line() && text_[at_] != ',') ++at_;
    field = text_.substr(begin, at_ - begin);
    return true;
  }
  bool read_quoted(std::string_view& field) {
    const int64_t first_line = line_;
    const size_t begin = ++at_;
    bool has_doubled = false;
    for (;; ++at_) {
      if (at_ >= text_.size()) {
        mistakes_.add(fmt::format("line {}", first_line),
                      fmt::format("the quote that opens the field {} is never closed; double a "
                                  "quote that belongs to the text",
                                  shortened(std::string(text_.substr(begin - 1, 200)))));
        return false;
      }
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != '"') continue;
      if (at_ + 1 >= text_.size() || text_[at_ + 1] != '"') break;
      has_doubled = true;
      ++at_;
    }
    field = text_.substr(begin, at_ - begin);
    if (has_doubled) field = without_doubled_quotes(field);
    ++at_;
    if (at_end_of_line() || text_[at_] == ',') return true;
    mistakes_.add(
        fmt::format("line {}", line_),
        fmt::format("text follows the closing quote of {}; double a quote that belongs to the text",
                    shortened(std::string(field))));
    return false;
  }
  std::string_view without_doubled_quotes(std::string_view field) {
    std::string& text = unquoted_.emplace_back();
    for (size_t i = 0; i < field.size(); ++i) {
      text += field[i];
      if (field[i] == '"') ++i;
    }
    return text;
  }

  std::string_view text_;
  std::deque<std::string>& unquoted_;
  FileMistakes& mistakes_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

}  // namespace

std::optional<size_t> TextTable::find(const std::string& column) const {
  const auto found = std::find(columns.begin(), columns.end(), column);
  if (found == columns.end()) return std::nullopt;
  return static_cast<size_t>(found - columns.begin());
}

size_t TextTable::require(const std::string& column, const std::string& flag) const {
  if (const auto found = find(column)) return *found;
  const std::string near = nearest_name(column, columns);
  throw UsageError("{}: line 1: has no column '{}'{}; its columns are {}{}", path, column,
                   near.empty() ? "" : fmt::format(", did you mean '{}'?", near),
                   fmt::join(columns, ", "),
                   flag.empty() ? "" : fmt::format(". Name the right one with --{}", flag));
}

TextTable read_tsv(const std::string& path) {
  TextTable table = open_table(path);
  FileMistakes mistakes(path);
  std::string_view rest = *table.text;
  for (int64_t line_number = 1; !rest.empty(); ++line_number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const std::string place = fmt::format("line {}", line_number);
    if (!is_utf8(line)) mistakes.add(place, "is not UTF-8; convert the file");
    TableRow row{.fields = split_at_tabs(line), .line = line_number};
    if (!table.rows.empty()) table.report.add_read();
    if (!table.rows.empty() && row.fields.size() != table.rows.front().fields.size()) {
      table.report.leave_out(
          fmt::format("not the {} columns of the first line", table.rows.front().fields.size()),
          fmt::format("{} ({} columns)", place, row.fields.size()));
      continue;
    }
    table.rows.push_back(std::move(row));
  }
  take_columns(table);
  if (table.report.num_left_out() * kRowsForOneBroken > table.report.num_read()) {
    mistakes.add("", fmt::format("{}. More than one row in a thousand is broken: is it "
                                 "tab-separated, without quotes?",
                                 fmt::join(table.report.texts(), "; ")));
  }
  mistakes.raise_if_any();
  return table;
}

TextTable read_csv(const std::string& path) {
  TextTable table = open_table(path);
  FileMistakes mistakes(path);
  CsvReader reader(table, mistakes);
  for (TableRow row; reader.next(row);) {
    const std::string place = fmt::format("line {}", row.line);
    for (const std::string_view field : row.fields) {
      if (!is_utf8(field)) mistakes.add(place, "is not UTF-8; convert the file");
    }
    if (!table.rows.empty() && row.fields.size() != table.rows.front().fields.size()) {
      mistakes.add(place, fmt::format("has {} fields and the first line {}; put fields with "
                                      "commas or line breaks in quotes",
                                      row.fields.size(), table.rows.front().fields.size()));
    }
    table.rows.push_back(std::move(row));
  }
  mistakes.raise_if_any();
  take_columns(table);
  table.report.add_read(static_cast<int64_t>(table.rows.size()));
  return table;
}

}  // namespace megalith

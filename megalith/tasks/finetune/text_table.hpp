// Tables as text: GLUE's TSV and ordinary CSV, columns found by the names in the first line.
//
// TSV has no quoting: a tab ends a field, a line feed ends a row. CSV is RFC 4180: fields in quotes
// may hold commas, line breaks and doubled quotes. Both take a byte order mark and CRLF. Rows keep
// the line they begin at.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "megalith/tasks/finetune/read_report.hpp"

namespace megalith {

struct TableRow {
  std::vector<std::string_view> fields;  // in the table's memory
  int64_t line = 0;                      // from 1
  std::string text(size_t column) const { return std::string(fields[column]); }
};

struct TextTable {
  std::string path;
  std::vector<std::string> columns;
  std::vector<TableRow> rows;
  ReadReport report;
  /// What the fields point into.
  std::shared_ptr<const std::string> text;
  std::shared_ptr<std::deque<std::string>> unquoted;

  /// The index of a column; nothing when there is none of that name.
  std::optional<size_t> find(const std::string& column) const;
  /// The same. Throws UsageError that lists the columns there are, and names `flag` when it is what
  /// chooses the column.
  size_t require(const std::string& column, const std::string& flag = "") const;
};

/// Rows with another number of fields than the first line has are left out and reported. Throws
/// UsageError when they are more than one in a thousand, or a line is not UTF-8.
TextTable read_tsv(const std::string& path);

/// Throws UsageError on any row with another number of fields, an open quote, or no UTF-8.
TextTable read_csv(const std::string& path);

}  // namespace megalith

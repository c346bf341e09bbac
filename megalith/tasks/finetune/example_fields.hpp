// One's own examples, a row of CSV or TSV or a JSON object a line, seen the same way: fields with
// names.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "megalith/tasks/finetune/read_report.hpp"
#include "megalith/tasks/finetune/text_table.hpp"

namespace megalith {

/// A field that must be there, and the flag that chose its name.
struct ColumnUse {
  std::string name, flag;
};

/// One example of a file. Numbers and true or false are texts ("1", "true") here.
class ExampleFields {
 public:
  ExampleFields(const TextTable& table, const TableRow& row, FileMistakes& mistakes);
  ExampleFields(const nlohmann::json& object, int64_t line, FileMistakes& mistakes);

  int64_t line() const { return line_; }
  /// "line 7", for messages.
  std::string place() const;
  /// The names of the fields, in the file's order for tables.
  std::vector<std::string> names() const;
  /// Nothing where there is no such field, or it is null.
  std::optional<std::string> find(const std::string& name) const;
  /// "" and a mistake where there is none.
  std::string require(const std::string& name) const;
  /// A field that is a list of texts (JSON lines only); nothing when it is not there or no list.
  std::optional<std::vector<std::string>> find_list(const std::string& name) const;

 private:
  const TextTable* table_ = nullptr;
  const TableRow* row_ = nullptr;
  const nlohmann::json* object_ = nullptr;
  int64_t line_ = 0;
  FileMistakes* mistakes_;
};

/// Visits every example of a file: .jsonl and .json hold an object a line, .tsv is read by
/// read_tsv, anything else by read_csv. Missing columns of a table are one UsageError.
void read_example_fields(const std::string& path, const std::vector<ColumnUse>& uses,
                         FileMistakes& mistakes, ReadReport& report,
                         const std::function<void(const ExampleFields&)>& visit);

/// Ids that were seen, to find the ones that come twice.
class UniqueIds {
 public:
  /// A mistake when `id` is empty or was there before.
  void add(const std::string& id, const std::string& place, FileMistakes& mistakes);

 private:
  std::map<std::string, std::string> place_of_;
};

/// Nothing but spaces, tabs and line breaks.
bool is_blank(const std::string& text);

}  // namespace megalith

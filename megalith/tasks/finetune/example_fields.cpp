#include "megalith/tasks/finetune/example_fields.hpp"

#include "megalith/tasks/finetune/json_input.hpp"

namespace megalith {
namespace {

bool is_json_lines(const std::string& path) {
  return path.ends_with(".jsonl") || path.ends_with(".json") || path.ends_with(".ndjson");
}

}  // namespace

ExampleFields::ExampleFields(const TextTable& table, const TableRow& row, FileMistakes& mistakes)
    : table_(&table), row_(&row), line_(row.line), mistakes_(&mistakes) {}

ExampleFields::ExampleFields(const nlohmann::json& object, int64_t line, FileMistakes& mistakes)
    : object_(&object), line_(line), mistakes_(&mistakes) {}

std::string ExampleFields::place() const { return line_place(line_); }

std::vector<std::string> ExampleFields::names() const {
  if (table_ != nullptr) return table_->columns;
  std::vector<std::string> names;
  for (const auto& [name, value] : object_->items()) names.push_back(name);
  return names;
}

std::optional<std::string> ExampleFields::find(const std::string& name) const {
  if (table_ != nullptr) {
    const auto column = table_->find(name);
    return column ? std::optional(row_->text(*column)) : std::nullopt;
  }
  const auto found = object_->find(name);
  if (found == object_->end() || found->is_null()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number_integer() || found->is_boolean()) return found->dump();
  mistakes_->add(
      place(), fmt::format("\"{}\" is {}, expected a text or a whole number", name, shown(*found)));
  return std::nullopt;
}

std::string ExampleFields::require(const std::string& name) const {
  if (const auto found = find(name)) return *found;
  const bool of_wrong_kind = object_ != nullptr && object_->contains(name);
  if (!of_wrong_kind) {
    mistakes_->add(place(),
                   fmt::format("has no \"{}\"; it has {}", name, fmt::join(names(), ", ")));
  }
  return "";
}

std::optional<std::vector<std::string>> ExampleFields::find_list(const std::string& name) const {
  if (object_ == nullptr || !object_->contains(name) || !object_->at(name).is_array()) {
    return std::nullopt;
  }
  return JsonPlace(object_->at(name), fmt::format("{}: {}", place(), name), *mistakes_).texts();
}

void read_example_fields(const std::string& path, const std::vector<ColumnUse>& uses,
                         FileMistakes& mistakes, ReadReport& report,
                         const std::function<void(const ExampleFields&)>& visit) {
  if (is_json_lines(path)) {
    read_json_lines(path, mistakes, [&](const nlohmann::json& object, int64_t line) {
      report.add_read();
      visit({object, line, mistakes});
    });
    return;
  }
  const TextTable table = path.ends_with(".tsv") ? read_tsv(path) : read_csv(path);
  for (const ColumnUse& use : uses) table.require(use.name, use.flag);
  report = table.report;
  for (const TableRow& row : table.rows) visit({table, row, mistakes});
}

void UniqueIds::add(const std::string& id, const std::string& place, FileMistakes& mistakes) {
  if (is_blank(id)) return mistakes.add(place, "the id is empty");
  const auto [found, is_new] = place_of_.emplace(id, place);
  if (!is_new) {
    mistakes.add(place, fmt::format("the id {} was there before, at {}; ids must be unique",
                                    shortened(id), found->second));
  }
}

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string::npos;
}

}  // namespace megalith

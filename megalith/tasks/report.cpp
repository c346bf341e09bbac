#include "megalith/tasks/report.hpp"

#include <algorithm>
#include <cmath>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

std::string value_text(const nlohmann::ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());
  return value.dump();
}

}  // namespace

void Report::add(std::string name, nlohmann::ordered_json value, std::string meaning) {
  lines_.push_back({std::move(name), std::move(value), std::move(meaning)});
}

void Report::add_to_list(const std::string& name, nlohmann::ordered_json object) {
  lists_[name].push_back(std::move(object));
}

double Report::number(const std::string& name) const {
  const auto line = std::find_if(lines_.begin(), lines_.end(),
                                 [&](const Line& candidate) { return candidate.name == name; });
  if (line == lines_.end()) throw std::out_of_range("the report has no " + name);
  return line->value.get<double>();
}

std::string Report::text() const {
  size_t names = 0, values = 0;
  for (const auto& line : lines_) {
    names = std::max(names, line.name.size());
    if (!line.value.is_string()) values = std::max(values, value_text(line.value).size());
  }
  std::string text = task_ + "\n";
  for (const auto& line : lines_) {
    const std::string row = fmt::format("  {:<{}}  {:<{}}  {}", line.name, names,
                                        value_text(line.value), values, line.meaning);
    text += row.substr(0, row.find_last_not_of(' ') + 1) + "\n";
  }
  for (const auto& [name, objects] : lists_.items()) {
    text += fmt::format("  {}\n", name);
    for (const auto& object : objects) text += fmt::format("    {}\n", object.dump());
  }
  return text;
}

nlohmann::ordered_json Report::json() const {
  nlohmann::ordered_json object;
  object["task"] = task_;
  for (const auto& line : lines_) {
    // JSON has no infinity; a perplexity beyond the largest number is told as text.
    const bool is_strange =
        line.value.is_number_float() && !std::isfinite(line.value.get<double>());
    object[line.name] = is_strange ? nlohmann::ordered_json(value_text(line.value)) : line.value;
  }
  object.update(lists_);
  return object;
}

void Report::write(const std::string& path) const {
  write_text_file(path,
                  json().dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace megalith

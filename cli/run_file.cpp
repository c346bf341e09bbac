#include "cli/run_file.hpp"

#include <algorithm>
#include <optional>
#include <toml++/toml.h>

#include "megalith/core/atomic_file.hpp"

namespace megalith::cli {
namespace {

/// A single value as a word of the command line, or nothing for tables, lists and dates.
std::optional<std::string> word_of(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return fmt::format("{}", number->get());
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  if (const auto* truth = node.as_boolean()) return truth->get() ? "true" : "false";
  return std::nullopt;
}

/// False, with the reason in `problems`, when the node is no value of a setting.
bool read_value(const toml::node& node, RunFileSetting& setting, Problems& problems) {
  const auto* const list = node.as_array();
  setting.is_list = list != nullptr;
  const auto take = [&](const toml::node& single) {
    const auto word = word_of(single);
    if (word) {
      setting.words.push_back(*word);
    } else {
      problems.add(
          "{}: '{}' is a {}; settings are text, numbers, true, false, or a list of these, all at "
          "the top of the file",
          setting.place, setting.name, single.is_table() ? "table" : "value of another kind");
    }
    return word.has_value();
  };
  if (list == nullptr) return take(node);
  return std::all_of(list->begin(), list->end(), take);
}

}  // namespace

std::vector<RunFileSetting> read_run_file(const std::string& path, Problems& problems) {
  std::string text;
  try {
    text = read_text_file(path);
  } catch (const UsageError& error) {
    throw UsageError("--config {}; give the path of a run file in TOML", error.what());
  }
  std::vector<std::pair<uint32_t, RunFileSetting>> by_line;
  try {
    const toml::table document = toml::parse(text);
    for (const auto& [key, node] : document) {
      const uint32_t line = key.source().begin.line;
      RunFileSetting setting;
      setting.name = key.str();
      if (setting.name.starts_with("--")) setting.name.erase(0, 2);  // as on the command line
      setting.place = fmt::format("{}:{}", path, line);
      if (read_value(node, setting, problems)) by_line.emplace_back(line, std::move(setting));
    }
  } catch (const toml::parse_error& error) {
    problems.add("{}:{}: {}; a run file is TOML: write settings as flag = value, text in quotes",
                 path, error.source().begin.line, error.description());
  }
  std::sort(by_line.begin(), by_line.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<RunFileSetting> settings;
  for (auto& [line, setting] : by_line) settings.push_back(std::move(setting));
  return settings;
}

}  // namespace megalith::cli

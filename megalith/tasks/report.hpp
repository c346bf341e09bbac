// What a task found, as lines for a person and as JSON for a program: the same names and numbers.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace megalith {

class Report {
 public:
  /// `task` heads the text and is "task" in the JSON.
  explicit Report(std::string task) : task_(std::move(task)) {}

  /// A result; `meaning` says what it is, with its formula. Numbers are kept to the last digit.
  void add(std::string name, nlohmann::ordered_json value, std::string meaning);
  /// One more object of a list; the text shows it as a line.
  void add_to_list(const std::string& name, nlohmann::ordered_json object);
  /// A result that is already there, for tests and messages.
  double number(const std::string& name) const;

  std::string text() const;
  nlohmann::ordered_json json() const;
  /// Writes json() to a file, replacing one that is there.
  void write(const std::string& path) const;

 private:
  struct Line {
    std::string name;
    nlohmann::ordered_json value;
    std::string meaning;
  };
  std::string task_;
  std::vector<Line> lines_;
  nlohmann::ordered_json lists_ = nlohmann::ordered_json::object();
};

}  // namespace megalith

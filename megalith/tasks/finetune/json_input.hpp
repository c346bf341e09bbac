// JSON files of examples, of evaluation and fine-tuning alike, read so that every mistake has a
// place: the line and column where the text is no JSON, the path of a value
// ("data/0/paragraphs/3") where it is not what is expected.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "megalith/tasks/finetune/read_report.hpp"

namespace megalith {

/// A whole file. Throws UsageError naming file, line and column.
nlohmann::json read_json_file(const std::string& path);

/// Calls `visit` with each line's object and its number; blank lines are passed over, a byte order
/// mark too. Packed files (gzip, zstd) are read as they are. Lines that are no JSON object go to
/// `mistakes`. Throws UsageError when the file cannot be read.
void read_json_lines(const std::string& path, FileMistakes& mistakes,
                     const std::function<void(const nlohmann::json&, int64_t line)>& visit);

/// A value inside a document, with the way to it.
class JsonPlace {
 public:
  JsonPlace(const nlohmann::json& value, std::string place, FileMistakes& mistakes)
      : value_(&value), place_(std::move(place)), mistakes_(&mistakes) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& place() const { return place_; }
  void mistake(const std::string& what) const { mistakes_->add(place_, what); }

  bool has(const char* key) const { return value_->is_object() && value_->contains(key); }
  /// A text member; "" and a mistake when there is none.
  std::string text(const char* key) const;
  /// Visits the elements of a list member; a mistake when there is none.
  void each(const char* key, const std::function<void(const JsonPlace&)>& visit) const;
  /// The elements of a list of texts; a mistake when it is none.
  std::vector<std::string> texts() const;
  std::vector<std::string> texts(const char* key) const;

 private:
  JsonPlace member(const char* key) const;
  const nlohmann::json* value_;
  std::string place_;
  FileMistakes* mistakes_;
};

/// A value for a message, cut short.
std::string shown(const nlohmann::json& value);

}  // namespace megalith

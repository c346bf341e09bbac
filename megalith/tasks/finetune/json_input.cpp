#include "megalith/tasks/finetune/json_input.hpp"

#include <string_view>

#include "megalith/core/atomic_file.hpp"
#include "megalith/data/corpus_reader.hpp"

namespace megalith {
namespace {

using Json = nlohmann::json;

/// "[json.exception.parse_error.101] parse error at line 1, column 2: why" without its head.
std::string reason_of(const Json::exception& error) {
  const std::string text = error.what();
  const size_t end = text.find("] ");
  return end == std::string::npos ? text : text.substr(end + 2);
}

/// A line that is parsed alone is always the parser's first.
std::string without_line(std::string reason) {
  constexpr std::string_view kFirstLine = "line 1, ";
  if (const size_t at = reason.find(kFirstLine); at != std::string::npos) {
    reason.erase(at, kFirstLine.size());
  }
  return reason;
}

std::string type_of(const Json& value) { return value.type_name(); }

}  // namespace

Json read_json_file(const std::string& path) {
  try {
    return Json::parse(read_text_file(path));
  } catch (const Json::exception& error) {
    throw UsageError("{}: is no JSON: {}", path, reason_of(error));
  }
}

void read_json_lines(const std::string& path, FileMistakes& mistakes,
                     const std::function<void(const Json&, int64_t line)>& visit) {
  CorpusReader reader({{.path = path, .is_json = true, .size_bytes = 0}}, DocumentSeparator::kFile);
  for (RawDocument document; reader.next(document);) {
    const std::string place = line_place(document.line);
    Json object;
    try {
      object = Json::parse(document.text);
    } catch (const Json::exception& error) {
      mistakes.add(place, "is no JSON: " + without_line(reason_of(error)));
      continue;
    }
    if (object.is_object()) {
      visit(object, document.line);
    } else {
      mistakes.add(place, fmt::format("is {}, expected an object {{...}}", shown(object)));
    }
  }
}

JsonPlace JsonPlace::member(const char* key) const {
  const auto& value = value_->at(key);
  return {value, place_.empty() ? key : place_ + "/" + key, *mistakes_};
}

std::string JsonPlace::text(const char* key) const {
  if (!has(key)) return mistake(fmt::format("has no \"{}\"", key)), "";
  const JsonPlace found = member(key);
  if (found.value().is_string()) return found.value().get<std::string>();
  found.mistake(fmt::format("is {}, expected a text", shown(found.value())));
  return "";
}

void JsonPlace::each(const char* key, const std::function<void(const JsonPlace&)>& visit) const {
  if (!has(key)) return mistake(fmt::format("has no \"{}\"", key));
  const JsonPlace list = member(key);
  if (!list.value().is_array()) {
    return list.mistake(fmt::format("is {}, expected a list", type_of(list.value())));
  }
  for (size_t i = 0; i < list.value().size(); ++i) {
    visit({list.value()[i], fmt::format("{}/{}", list.place(), i), *mistakes_});
  }
}

std::vector<std::string> JsonPlace::texts() const {
  std::vector<std::string> texts;
  if (!value_->is_array()) {
    mistake(fmt::format("is {}, expected a list of texts", shown(*value_)));
    return texts;
  }
  for (const auto& text : *value_) {
    if (text.is_string()) {
      texts.push_back(text.get<std::string>());
    } else {
      mistake(fmt::format("holds {}, expected texts", shown(text)));
    }
  }
  return texts;
}

std::vector<std::string> JsonPlace::texts(const char* key) const {
  if (!has(key)) return mistake(fmt::format("has no \"{}\"", key)), std::vector<std::string>();
  return member(key).texts();
}

std::string shown(const Json& value) {
  return value.is_structured() ? fmt::format("{} {}", value.is_array() ? "the list" : "the object",
                                             shortened(value.dump()))
                               : shortened(value.dump());
}

}  // namespace megalith

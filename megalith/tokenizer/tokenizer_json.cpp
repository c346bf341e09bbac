#include "megalith/tokenizer/tokenizer_json.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

constexpr size_t kLongestShown = 60;

}  // namespace

std::string shown(const simdjson::dom::element& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  std::string text = simdjson::minify(value);
  if (text.size() <= kLongestShown) return text;
  text.resize(kLongestShown);
  text.resize(text.size() - unicode::incomplete_tail(text));
  return text + "...";
}

void JsonPlace::complain(std::string_view text) const {
  problems_->add("{}: {}{}{}", file_, place_, place_.empty() ? "" : ": ", text);
}

void JsonPlace::complain_about(std::string_view key, std::string_view text) const {
  at(key, value_).complain(text);
}

JsonPlace JsonPlace::at(std::string_view key, simdjson::dom::element value) const {
  JsonPlace there(value, file_, *problems_);
  const bool plain = place_.empty() || key.starts_with('[');
  there.place_ = fmt::format("{}{}{}", place_, plain ? "" : ".", key);
  return there;
}

std::optional<JsonPlace> JsonPlace::find(std::string_view key) const {
  simdjson::dom::element value;
  if (value_[key].get(value) || value.is_null()) return std::nullopt;
  return at(key, value);
}

std::optional<JsonPlace> JsonPlace::require(std::string_view key) const {
  auto found = find(key);
  if (!found) complain_about(key, "is missing");
  return found;
}

std::string JsonPlace::text() const {
  std::string_view text;
  if (value_.get(text)) complain(fmt::format("expected a text, got {}", shown(value_)));
  return std::string(text);
}

std::string JsonPlace::text(std::string_view key) const {
  const auto found = require(key);
  return found ? found->text() : "";
}

bool JsonPlace::flag(std::string_view key, bool otherwise) const {
  const auto found = find(key);
  if (!found) return otherwise;
  bool flag = otherwise;
  if (found->value_.get(flag)) {
    found->complain(fmt::format("expected true or false, got {}", shown(found->value_)));
  }
  return flag;
}

bool JsonPlace::flag(std::string_view key) const {
  return require(key).has_value() && flag(key, false);
}

int64_t JsonPlace::whole_number(std::string_view key) const {
  const auto found = require(key);
  int64_t number = 0;
  if (found && (found->value_.get(number) || number < 0)) {
    found->complain(fmt::format("expected a whole number, got {}", shown(found->value_)));
    return 0;
  }
  return number;
}

std::string JsonPlace::character(std::string_view key) const {
  std::string text = this->text(key);
  if (find(key) && (text.empty() || unicode::decode(text.data()).length != text.size())) {
    complain_about(key, fmt::format("expected one character, got '{}'", text));
  }
  return text;
}

std::vector<JsonPlace> JsonPlace::list(std::string_view key) const {
  const auto found = require(key);
  if (!found) return {};
  simdjson::dom::array array;
  if (found->value_.get(array)) {
    found->complain(fmt::format("expected a list, got {}", shown(found->value_)));
    return {};
  }
  std::vector<JsonPlace> entries;
  for (const auto entry : array) {
    entries.push_back(found->at(fmt::format("[{}]", entries.size()), entry));
  }
  return entries;
}

std::string JsonPlace::choice(std::string_view key, const std::vector<std::string>& known) const {
  const std::string text = this->text(key);
  if (text.empty() || std::find(known.begin(), known.end(), text) != known.end()) return text;
  complain_about(key, fmt::format("'{}' is none of {}", text, fmt::join(known, ", ")));
  return "";
}

std::string JsonPlace::type(std::string_view what,
                            const std::vector<std::string>& supported) const {
  if (!is_object()) {
    complain(fmt::format("expected an object with a type, got {}", shown(value_)));
    return "";
  }
  const std::string text = this->text("type");
  if (text.empty() || std::find(supported.begin(), supported.end(), text) != supported.end()) {
    return text;
  }
  complain(fmt::format("the {} {} is not supported; supported are {}", what, text,
                       fmt::join(supported, ", ")));
  return "";
}

simdjson::dom::element parse_json(simdjson::dom::parser& parser, const std::string& text,
                                  std::string_view path, std::string_view what) {
  simdjson::dom::element document;
  const auto error = parser.parse(text).get(document);
  if (!error) return document;
  std::string why = simdjson::error_message(error);
  try {  // simdjson is fast and says no place; the other library is asked for it
    [[maybe_unused]] const auto tree = nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& broken) {  // numbers overflow, too
    why = broken.what();
    why.erase(0, std::min(why.find("] ") + 2, why.size()));
  }
  std::string repaired;
  throw UsageError("{}: not a JSON file: {}; expected {}", path,
                   unicode::well_formed(why, repaired), what);
}

}  // namespace megalith

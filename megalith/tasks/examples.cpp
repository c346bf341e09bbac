#include "megalith/tasks/examples.hpp"

#include <nlohmann/json.hpp>

#include "megalith/tasks/finetune/json_input.hpp"

namespace megalith {
namespace {

using Json = nlohmann::json;

/// A mistake of one line.
struct LineError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

const Json& member(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) throw LineError(fmt::format("has no \"{}\"", key));
  return *found;
}

std::string text_member(const Json& object, const char* key) {
  const Json& value = member(object, key);
  if (value.is_string()) return value.get<std::string>();
  throw LineError(fmt::format("\"{}\" is {}, expected a text", key, shown(value)));
}

ClozeExample cloze_example(const Json& object) { return {.text = text_member(object, "text")}; }

ChoiceExample choice_example(const Json& object) {
  ChoiceExample example;
  example.query = text_member(object, "query");
  const Json& choices = member(object, "choices");
  if (!choices.is_array() || choices.empty()) {
    throw LineError("\"choices\" must be a list of texts, with at least one");
  }
  for (const auto& choice : choices) {
    if (!choice.is_string() || choice.get_ref<const std::string&>().empty()) {
      throw LineError(fmt::format("the choice {} is no text, or an empty one", shown(choice)));
    }
    example.choices.push_back(choice.get<std::string>());
  }
  const Json& gold = member(object, "gold");
  const auto count = static_cast<int64_t>(example.choices.size());
  const bool fits = gold.is_number_integer() && gold.get<double>() >= 0 &&
                    gold.get<double>() < static_cast<double>(count);
  if (!fits) {
    throw LineError(fmt::format("\"gold\" is {}, and the {} choices are numbered 0 to {}",
                                shown(gold), count, count - 1));
  }
  example.gold = gold.get<int64_t>();
  return example;
}

template <class Example>
std::vector<Example> read_examples(const std::string& path, Problems& problems,
                                   Example (*parse)(const Json&)) {
  std::vector<Example> examples;
  FileMistakes mistakes(path);
  read_json_lines(path, mistakes, [&](const Json& object, int64_t line) {
    try {
      examples.push_back(parse(object));
      examples.back().line = line;
    } catch (const LineError& error) {
      mistakes.add(line_place(line), error.what());
    }
  });
  mistakes.add_to(problems);
  if (examples.empty() && mistakes.empty()) problems.add("{}: holds no example", path);
  return examples;
}

}  // namespace

std::vector<ClozeExample> read_cloze_examples(const std::string& path, Problems& problems) {
  return read_examples<ClozeExample>(path, problems, cloze_example);
}

std::vector<ChoiceExample> read_choice_examples(const std::string& path, Problems& problems) {
  return read_examples<ChoiceExample>(path, problems, choice_example);
}

}  // namespace megalith

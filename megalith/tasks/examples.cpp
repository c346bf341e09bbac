#include "megalith/tasks/examples.hpp"

#include <functional>
#include <nlohmann/json.hpp>

#include "megalith/data/corpus_reader.hpp"

namespace megalith {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMostTold = 10;

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
  throw LineError(fmt::format("\"{}\" is {}, expected a text", key, value.dump().substr(0, 40)));
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
      throw LineError(
          fmt::format("the choice {} is no text, or an empty one", choice.dump().substr(0, 40)));
    }
    example.choices.push_back(choice.get<std::string>());
  }
  const Json& gold = member(object, "gold");
  const auto count = static_cast<int64_t>(example.choices.size());
  const bool fits = gold.is_number_integer() && gold.get<double>() >= 0 &&
                    gold.get<double>() < static_cast<double>(count);
  if (!fits) {
    throw LineError(fmt::format("\"gold\" is {}, and the {} choices are numbered 0 to {}",
                                gold.dump().substr(0, 40), count, count - 1));
  }
  example.gold = gold.get<int64_t>();
  return example;
}

template <class Example>
std::vector<Example> read_examples(const std::string& path, Problems& problems,
                                   Example (*parse)(const Json&)) {
  CorpusReader reader({{.path = path, .is_json = true, .size_bytes = 0}}, DocumentSeparator::kFile);
  std::vector<Example> examples;
  LineProblems lines(path);
  for (RawDocument document; reader.next(document);) {
    try {
      const Json object = Json::parse(document.text);
      if (!object.is_object()) throw LineError("is no JSON object");
      examples.push_back(parse(object));
      examples.back().line = document.line;
    } catch (const LineError& error) {
      lines.add(document.line, error.what());
    } catch (const Json::exception& error) {
      const std::string text = error.what();  // "[json.exception...] parse error at ...: why"
      const size_t end = text.find("] ");
      lines.add(document.line,
                "is no JSON: " + text.substr(end == std::string::npos ? 0 : end + 2));
    }
  }
  lines.add_to(problems);
  if (examples.empty() && lines.empty()) problems.add("{}: holds no example", path);
  return examples;
}

}  // namespace

void LineProblems::add(int64_t line, const std::string& what) {
  if (++count_ <= kMostTold) first_.push_back(fmt::format("{}: line {}: {}", path_, line, what));
}

void LineProblems::add_to(Problems& problems) const {
  for (const auto& text : first_) problems.add("{}", text);
  if (count_ > kMostTold) problems.add("{}: {} more such lines", path_, count_ - kMostTold);
}

std::vector<ClozeExample> read_cloze_examples(const std::string& path, Problems& problems) {
  return read_examples<ClozeExample>(path, problems, cloze_example);
}

std::vector<ChoiceExample> read_choice_examples(const std::string& path, Problems& problems) {
  return read_examples<ChoiceExample>(path, problems, choice_example);
}

}  // namespace megalith

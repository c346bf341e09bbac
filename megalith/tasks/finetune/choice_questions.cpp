#include "megalith/tasks/finetune/choice_questions.hpp"

#include <algorithm>
#include <charconv>

#include "megalith/tasks/finetune/example_fields.hpp"

namespace megalith {
namespace {

constexpr const char* kListOfChoices = "choices";

/// answer0, answer1, ... as far as they go.
std::vector<std::string> numbered_answers(const ExampleFields& fields) {
  const auto names = fields.names();
  std::vector<std::string> found;
  for (;;) {
    const std::string name = fmt::format("answer{}", found.size());
    if (std::find(names.begin(), names.end(), name) == names.end()) return found;
    found.push_back(name);
  }
}

std::vector<std::string> choices_of(const ExampleFields& fields, const ChoiceColumns& columns,
                                    FileMistakes& mistakes) {
  std::vector<std::string> names = columns.choices;
  if (names.empty()) names = numbered_answers(fields);
  const std::string list_name = names.empty() ? kListOfChoices : names.front();
  if (names.size() <= 1) {
    if (const auto list = fields.find_list(list_name)) return *list;
  }
  if (names.empty()) {
    mistakes.add(fields.place(),
                 fmt::format("has no answer0, answer1, ... and no list \"{}\"; it has {}. Name the "
                             "choices with --choices-column",
                             kListOfChoices, fmt::join(fields.names(), ", ")));
    return {};
  }
  std::vector<std::string> choices;
  choices.reserve(names.size());
  for (const auto& name : names) choices.push_back(fields.require(name));
  return choices;
}

/// The label as a number of a choice, or a mistake.
void set_label(ChoiceQuestion& question, const std::string& text, const std::string& place,
               FileMistakes& mistakes) {
  const auto count = static_cast<int64_t>(question.choices.size());
  int64_t label = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), label);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  if (!is_number || label < 0 || label >= count) {
    mistakes.add(place, fmt::format("the label is {}, and the {} choices are numbered 0 to {}",
                                    shortened(text), count, count - 1));
    return;
  }
  question.label = label;
}

void check_choices(const ChoiceQuestion& question, int64_t expected, const std::string& place,
                   FileMistakes& mistakes) {
  const auto count = static_cast<int64_t>(question.choices.size());
  if (count < 2) {
    mistakes.add(place, fmt::format("has {} choices; at least 2 are needed", count));
  } else if (count != expected) {
    mistakes.add(place, fmt::format("has {} choices and the first question {}; all must have as "
                                    "many",
                                    count, expected));
  }
  for (const auto& choice : question.choices) {
    if (is_blank(choice)) mistakes.add(place, "a choice is empty");
  }
}

}  // namespace

FieldList ChoiceColumns::fields() {
  return {
      {"context-column", &context, "The column or member that holds the text that is read."},
      {"question-column", &question, "The question; empty when the text asks it itself."},
      {"choices-column", &choices,
       "The choices: a column each, or one member that is a list. Otherwise answer0, answer1, ... "
       "or the list \"choices\"."},
      {"label-column", &label, "The number of the right choice, from 0."},
      {"id-column", &id, "What names an example; otherwise its line does."},
  };
}

ChoiceSet read_multiple_choice(const std::string& path, const ChoiceColumns& columns) {
  ChoiceSet set{.path = path, .num_choices = 0, .questions = {}, .report = ReadReport(path)};
  FileMistakes mistakes(path);
  UniqueIds ids;
  std::vector<ColumnUse> uses = {{columns.context, "context-column"}};
  if (!columns.question.empty()) uses.push_back({columns.question, "question-column"});
  for (const auto& name : columns.choices) uses.push_back({name, "choices-column"});
  if (columns.id) uses.push_back({*columns.id, "id-column"});
  int64_t num_labelled = 0;
  read_example_fields(path, uses, mistakes, set.report, [&](const ExampleFields& fields) {
    const std::string place = fields.place();
    ChoiceQuestion question;
    question.context = fields.require(columns.context);
    if (is_blank(question.context)) {
      mistakes.add(place,
                   fmt::format("'{}' is empty; fill it in or delete the row", columns.context));
    }
    if (!columns.question.empty()) question.question = fields.require(columns.question);
    question.choices = choices_of(fields, columns, mistakes);
    if (set.num_choices == 0) set.num_choices = static_cast<int64_t>(question.choices.size());
    check_choices(question, set.num_choices, place, mistakes);
    if (const auto label = fields.find(columns.label)) {
      set_label(question, *label, place, mistakes);
      ++num_labelled;
    }
    question.id = columns.id ? fields.require(*columns.id) : std::to_string(fields.line());
    ids.add(question.id, place, mistakes);
    set.questions.push_back(std::move(question));
  });
  const auto count = static_cast<int64_t>(set.questions.size());
  if (num_labelled > 0 && num_labelled < count) {
    mistakes.add("", fmt::format("{} of {} examples have no label ('{}')", count - num_labelled,
                                 count, columns.label));
  }
  mistakes.raise_if_any();
  if (set.questions.empty()) throw UsageError("{}: holds no example", path);
  return set;
}

}  // namespace megalith

#include "cli/command_line.hpp"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <map>

#include "cli/run_file.hpp"

namespace megalith::cli {
namespace {

constexpr size_t kHelpWidth = 80;
constexpr size_t kHelpColumn = 6;

bool is_switch(const Field& field) { return std::holds_alternative<bool*>(field.value); }
bool is_list(const Field& field) {
  return std::holds_alternative<std::vector<std::string>*>(field.value) ||
         std::holds_alternative<std::vector<int64_t>*>(field.value);
}

bool holds_text(const Field& field) {
  return std::holds_alternative<std::string*>(field.value) ||
         std::holds_alternative<std::optional<std::string>*>(field.value);
}

std::string value_name(const Field& field) {
  struct Name {
    std::string operator()(const bool*) const { return ""; }
    std::string operator()(const int64_t*) const { return " N"; }
    std::string operator()(const std::optional<int64_t>*) const { return " N"; }
    std::string operator()(const double*) const { return " X"; }
    std::string operator()(const std::optional<double>*) const { return " X"; }
    std::string operator()(const std::string*) const { return " TEXT"; }
    std::string operator()(const std::optional<std::string>*) const { return " TEXT"; }
    std::string operator()(const std::vector<std::string>*) const { return " TEXT ..."; }
    std::string operator()(const std::vector<int64_t>*) const { return " N ..."; }
    std::string operator()(const Choice& c) const {
      return fmt::format(" {}", fmt::join(c.names, "|"));
    }
  };
  return std::visit(Name{}, field.value);
}

std::string default_text(const Field& field) {
  if (!field.default_text.empty()) return " [" + field.default_text + "]";
  if (is_switch(field)) return **std::get_if<bool*>(&field.value) ? " [on]" : "";
  const auto words = field_words(field);
  if (!words || words->empty() || words->front().empty()) return "";
  return fmt::format(" [{}]", fmt::join(*words, " "));
}

/// How many words may follow a flag; -1 is any number.
int64_t values_of(const Field& field) { return is_switch(field) ? 0 : is_list(field) ? -1 : 1; }

bool is_negative_number(const std::string& word) {
  return word.size() > 1 && word[0] == '-' &&
         (std::isdigit(static_cast<unsigned char>(word[1])) || word[1] == '.' || word == "-inf" ||
          word == "-nan");
}

/// Words that are meant as a flag: two dashes, or one dash and a letter.
bool looks_like_flag(const std::string& word) {
  return word.starts_with("--") || (word.size() > 1 && word[0] == '-' && !is_negative_number(word));
}

std::vector<std::string> split_at_spaces(const std::string& text) {
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    if (end > at) words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

}  // namespace

std::string wrap(const std::string& text, size_t width, size_t indent) {
  std::string out, line;
  for (const auto& word : split_at_spaces(text)) {
    const size_t room = out.empty() ? width : width - indent;
    if (!line.empty() && line.size() + 1 + word.size() > room) {
      out += (out.empty() ? "" : "\n" + std::string(indent, ' ')) + line;
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return out + (out.empty() ? "" : "\n" + std::string(indent, ' ')) + line;
}

struct CommandLine::State {
  struct Positional {
    std::string name;
    std::vector<std::string>* values;
    std::string help;
    int low, high;
  };
  /// What stood after a flag, on the command line or in a run file.
  struct Given {
    std::vector<std::string> words;
    std::string place = {};  // "FILE:LINE: ", or nothing on the command line
    bool is_list = false;    // written as a list in a run file
  };
  std::string name, summary, epilogue;
  std::vector<std::pair<std::string, FieldList>> sections;
  std::vector<Positional> positionals;
  std::vector<ForeignFlag> foreign;
  std::map<std::string, int64_t> num_values;  // of every known flag
  std::map<std::string, Given> given;
  std::vector<std::string> stray;  // positional words, in order
  bool has_run_file = false;

  std::vector<std::string> known() const {
    std::vector<std::string> names;
    for (const auto& [flag, values] : num_values) names.push_back(flag);
    return names;
  }
  size_t most_positionals() const {
    size_t most = 0;
    for (const auto& positional : positionals) most += static_cast<size_t>(positional.high);
    return most;
  }
  void report_unknown_flag(const std::string& word, Problems& problems) const;
  void report_stray_word(const std::string& word, const std::string& previous_flag,
                         Problems& problems) const;
  void split(const std::vector<std::string>& words, Problems& problems);
  void take_run_file(Problems& problems);
  void apply_foreign(Problems& problems, bool notices);
  void apply_fields(Problems& problems) const;
  void apply(const Field& field, const Given& value, Problems& problems) const;
  void fill_positionals(Problems& problems);
};

CommandLine::CommandLine(std::string name, std::string summary)
    : state_(std::make_unique<State>()) {
  state_->name = std::move(name);
  state_->summary = std::move(summary);
}
CommandLine::~CommandLine() = default;

void CommandLine::section(const std::string& title, const FieldList& fields) {
  state_->sections.emplace_back(title, fields);
  for (const auto& field : fields) state_->num_values[field.name] = values_of(field);
}

void CommandLine::positional(const std::string& name, std::vector<std::string>& values,
                             const std::string& help, int low, int high) {
  state_->positionals.push_back({name, &values, help, low, high});
}

void CommandLine::foreign(const std::vector<ForeignFlag>& flags) {
  for (const auto& flag : flags) {
    state_->num_values[flag.name] = flag.values;
    state_->foreign.push_back(flag);
  }
}

void CommandLine::run_file() {
  state_->has_run_file = true;
  state_->num_values["config"] = 1;
}

void CommandLine::epilogue(const std::string& text) { state_->epilogue = text; }

bool CommandLine::given(const std::string& name) const { return state_->given.contains(name); }

bool CommandLine::parse(const std::vector<std::string>& words, bool notices) {
  Problems problems;
  const bool go_on = parse(words, problems, notices);
  problems.raise_if_any();
  return go_on;
}

bool CommandLine::parse(const std::vector<std::string>& words, Problems& problems, bool notices) {
  if (std::any_of(words.begin(), words.end(),
                  [](const auto& word) { return word == "--help" || word == "-h"; })) {
    fmt::print("{}", help());
    return false;
  }
  state_->split(words, problems);
  state_->take_run_file(problems);
  state_->apply_foreign(problems, notices);
  state_->apply_fields(problems);
  state_->fill_positionals(problems);
  return true;
}

void CommandLine::State::report_unknown_flag(const std::string& word, Problems& problems) const {
  const std::string shown = word.substr(0, word.find('='));
  const std::string near =
      nearest_name(shown.substr(std::min(shown.find_first_not_of('-'), shown.size())), known());
  problems.add("unknown flag {}{}", shown,
               near.empty() ? fmt::format("; see {} --help", name)
                            : fmt::format("; did you mean --{}?", near));
}

void CommandLine::State::report_stray_word(const std::string& word,
                                           const std::string& previous_flag,
                                           Problems& problems) const {
  const auto flags = known();
  if (std::find(flags.begin(), flags.end(), word) != flags.end()) {
    problems.add("unexpected word '{}'; did you mean --{}?", word, word);
  } else if (!previous_flag.empty()) {
    problems.add("unexpected word '{}' after --{}, which takes {}; leave it out", word,
                 previous_flag, num_values.at(previous_flag) == 0 ? "no value" : "one value");
  } else {
    problems.add("unexpected word '{}'; leave it out, or see {} --help", word, name);
  }
}

/// Sorts words into `given` and `stray`.
void CommandLine::State::split(const std::vector<std::string>& words, Problems& problems) {
  std::string previous;  // the flag in front, while its values may go on
  const auto is_value = [&](size_t i) { return i < words.size() && !words[i].starts_with("--"); };
  // "-lr" behind a list is a flag with a dash too few, not one of its values.
  const auto is_slip = [&](size_t i) {
    return looks_like_flag(words[i]) && num_values.contains(words[i].substr(1));
  };
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      stray.insert(stray.end(), words.begin() + static_cast<int64_t>(i) + 1, words.end());
      break;
    }
    if (!looks_like_flag(word)) {
      if (stray.size() < most_positionals()) {
        stray.push_back(word);
      } else {
        report_stray_word(word, previous, problems);
      }
      continue;
    }
    const size_t equals = word.find('=');
    const size_t dashes = word.find_first_not_of('-');
    const std::string flag =
        word.substr(std::min(dashes, word.size()), equals - std::min(dashes, equals));
    const auto known_flag = num_values.find(flag);
    previous.clear();
    if (known_flag == num_values.end() || !word.starts_with("--")) {
      report_unknown_flag(word, problems);
      // Its value is part of the same mistake.
      if (equals == std::string::npos && is_value(i + 1) && stray.size() >= most_positionals()) ++i;
      continue;
    }
    previous = flag;
    Given value;
    if (equals != std::string::npos) {
      value.words.push_back(word.substr(equals + 1));
    } else {
      const int64_t most = known_flag->second;
      while (is_value(i + 1) &&
             (most < 0 ? !is_slip(i + 1) : static_cast<int64_t>(value.words.size()) < most)) {
        value.words.push_back(words[++i]);
      }
    }
    given[flag] = std::move(value);
  }
}

/// Settings of --config, for flags that the command line does not give.
void CommandLine::State::take_run_file(Problems& problems) {
  const auto config = given.find("config");
  if (!has_run_file || config == given.end()) return;
  if (config->second.words.empty() || config->second.words.back().empty()) {
    problems.add("--config needs the path of a run file in TOML, got nothing");
    return;
  }
  for (auto& setting : read_run_file(config->second.words.back(), problems)) {
    if (!num_values.contains(setting.name) || setting.name == "config") {
      const std::string near = nearest_name(setting.name, known());
      problems.add("{}: unknown setting '{}'{}", setting.place, setting.name,
                   near.empty() ? fmt::format("; see {} --help", name)
                                : fmt::format("; did you mean {}?", near));
      continue;
    }
    given.try_emplace(setting.name,
                      Given{std::move(setting.words), setting.place + ": ", setting.is_list});
  }
}

void CommandLine::State::apply_foreign(Problems& problems, bool notices) {
  for (const auto& flag : foreign) {
    const auto found = given.find(flag.name);
    if (found == given.end()) continue;
    const Given& value = found->second;
    if (std::ssize(value.words) < flag.values) {
      problems.add("{}--{} needs a value", value.place, flag.name);
      continue;
    }
    switch (flag.kind) {
      case ForeignFlag::Kind::kIgnored:
        if (notices) {
          fmt::print(stderr, "notice: {}--{} has no effect here: {}\n", value.place, flag.name,
                     flag.text);
        }
        break;
      case ForeignFlag::Kind::kRefused:
        if (!flag.value.empty() && value.words == std::vector{flag.value}) break;
        problems.add("{}--{} is not supported: {}", value.place, flag.name, flag.text);
        break;
      case ForeignFlag::Kind::kOldSpelling:
        if (notices) {
          fmt::print(stderr, "notice: {}--{} is an old spelling of --{}{}\n", value.place,
                     flag.name, flag.text, flag.value.empty() ? "" : " " + flag.value);
        }
        given.try_emplace(flag.text, flag.value.empty() ? value : Given{{flag.value}, value.place});
        break;
    }
  }
}

void CommandLine::State::apply_fields(Problems& problems) const {
  for (const auto& [title, fields] : sections) {
    for (const auto& field : fields) {
      const auto found = given.find(field.name);
      if (found != given.end()) apply(field, found->second, problems);
    }
  }
}

void CommandLine::State::apply(const Field& field, const Given& value, Problems& problems) const {
  if (value.is_list && !is_list(field)) {
    problems.add_refused_value(
        field.name, fmt::format("{}{} takes one value, got the list [{}]", value.place, field.name,
                                fmt::join(value.words, ", ")));
    return;
  }
  if (is_list(field) && value.words.empty() && !value.is_list) {
    problems.add_refused_value(
        field.name, fmt::format("--{} needs at least one value, got nothing", field.name));
    return;
  }
  // An empty word is mostly a shell variable that was not set.
  if (holds_text(field) && !value.words.empty() && value.words.back().empty()) {
    problems.add_refused_value(
        field.name, fmt::format("{}--{} is empty; give a value or leave the flag out", value.place,
                                field.name));
    return;
  }
  if (auto problem = set_field(field, value.words)) {
    problems.add_refused_value(field.name, value.place + *problem);
  }
}

void CommandLine::State::fill_positionals(Problems& problems) {
  size_t taken = 0;
  for (auto& positional : positionals) {
    const size_t end = std::min(stray.size(), taken + static_cast<size_t>(positional.high));
    positional.values->assign(stray.begin() + static_cast<int64_t>(taken),
                              stray.begin() + static_cast<int64_t>(end));
    taken = end;
    if (static_cast<int>(positional.values->size()) < positional.low) {
      problems.add("{} is missing: {}", positional.name, positional.help);
    }
  }
  for (; taken < stray.size(); ++taken) report_stray_word(stray[taken], "", problems);
}

std::string CommandLine::help() const {
  std::string usage = "Usage: " + state_->name;
  for (const auto& positional : state_->positionals) {
    const std::string word = positional.name + (positional.high > 1 ? "..." : "");
    usage += positional.low > 0 ? " " + word : " [" + word + "]";
  }
  std::string text = usage + " [flags]\n\n" + wrap(state_->summary, kHelpWidth, 0) + "\n";
  if (!state_->positionals.empty()) text += "\n";
  for (const auto& positional : state_->positionals) {
    text +=
        wrap(fmt::format("  {}  {}", positional.name, positional.help), kHelpWidth, kHelpColumn) +
        "\n";
  }
  const auto entry = [&](const std::string& flag, const std::string& help_text) {
    text += wrap("--" + flag, kHelpWidth - 2, kHelpColumn).insert(0, "  ") + "\n" +
            std::string(kHelpColumn, ' ') + wrap(help_text, kHelpWidth - kHelpColumn, kHelpColumn) +
            "\n";
  };
  for (const auto& [title, fields] : state_->sections) {
    text += "\n" + title + ":\n";
    for (const auto& field : fields) {
      entry(field.name + value_name(field), field.help + default_text(field));
    }
  }
  text += "\nGeneral:\n";
  if (state_->has_run_file) {
    entry("config FILE.toml",
          "Read settings from a TOML file under the flags' names; flags on the "
          "command line win.");
  }
  entry("help", "Print this text.");
  if (!state_->epilogue.empty()) text += "\n" + state_->epilogue + "\n";
  return text;
}

}  // namespace megalith::cli

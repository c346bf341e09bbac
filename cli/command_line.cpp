#include "cli/command_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

namespace megalith::cli {
namespace {

constexpr size_t kHelpWidth = 80;
constexpr size_t kHelpColumn = 6;

bool is_switch(const Field& field) { return std::holds_alternative<bool*>(field.value); }
bool is_list(const Field& field) {
  return std::holds_alternative<std::vector<std::string>*>(field.value) ||
         std::holds_alternative<std::vector<int64_t>*>(field.value);
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

void take_any_number(CLI::Option* option) {
  option->expected(0, CLI::detail::expected_max_vector_size);
  option->allow_extra_args();  // else CLI11 reads a list that may be empty as a switch
}

/// argparse's rule for lists: the last occurrence replaces the earlier ones. CLI11 joins them.
std::vector<std::string> keep_last_of_lists(const std::vector<std::string>& words,
                                            const std::set<std::string>& lists) {
  std::vector<std::string> kept;
  std::map<std::string, std::vector<size_t>> seen;
  for (size_t i = 0; i < words.size(); ++i) {
    if (lists.contains(words[i])) seen[words[i]].push_back(i);
  }
  std::set<size_t> dropped;
  for (const auto& [name, places] : seen) {
    for (size_t k = 0; k + 1 < places.size(); ++k) {
      size_t i = places[k];
      do dropped.insert(i++);
      while (i < words.size() && !words[i].starts_with("--"));
    }
  }
  for (size_t i = 0; i < words.size(); ++i) {
    if (!dropped.contains(i)) kept.push_back(words[i]);
  }
  return kept;
}

}  // namespace

std::string wrap(const std::string& text, size_t width, size_t indent) {
  std::string out, line;
  for (const auto& word : CLI::detail::split(text, ' ')) {
    if (word.empty()) continue;
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
    CLI::Option* option;
  };
  std::string name, summary, epilogue;
  CLI::App app;
  std::vector<std::pair<std::string, FieldList>> sections;
  std::map<std::string, CLI::Option*> options;
  std::vector<Positional> positionals;
  std::vector<ForeignFlag> foreign;
  std::string run_file;
  bool has_run_file = false;
};

CommandLine::CommandLine(std::string name, std::string summary)
    : state_(std::make_unique<State>()) {
  state_->name = std::move(name);
  state_->summary = std::move(summary);
  state_->app.set_help_flag();
  state_->app.add_flag("-h,--help");
  state_->app.allow_extras();
  state_->app.allow_config_extras(CLI::config_extras_mode::capture);
}
CommandLine::~CommandLine() = default;

void CommandLine::section(const std::string& title, const FieldList& fields) {
  state_->sections.emplace_back(title, fields);
  for (const auto& field : fields) {
    CLI::Option* option = nullptr;
    if (is_switch(field)) {
      option = state_->app.add_flag("--" + field.name);
    } else {
      option =
          state_->app.add_option("--" + field.name, [](const CLI::results_t&) { return true; });
      if (is_list(field)) {
        take_any_number(option);
      } else {
        option->take_last();
      }
    }
    state_->options[field.name] = option;
  }
}

void CommandLine::positional(const std::string& name, std::vector<std::string>& values,
                             const std::string& help, int low, int high) {
  auto* option = state_->app.add_option(name, [](const CLI::results_t&) { return true; });
  option->expected(1, std::max(high, 1));  // CLI11 passes over positionals that expect 0
  if (high > 1) option->allow_extra_args();
  state_->positionals.push_back({name, &values, help, low, high, option});
}

void CommandLine::foreign(const std::vector<ForeignFlag>& flags) {
  for (const auto& flag : flags) {
    CLI::Option* option = nullptr;
    if (flag.kind == ForeignFlag::Kind::kOldSpelling) {
      option = state_->app.add_option("--" + flag.name, [](const CLI::results_t&) { return true; });
      if (flag.values == 0) option->expected(0, 1);
    } else if (flag.values == 0) {
      option = state_->app.add_flag("--" + flag.name);
    } else {
      option = state_->app.add_option("--" + flag.name, [](const CLI::results_t&) { return true; });
      if (flag.values < 0) {
        take_any_number(option);
      } else {
        option->expected(static_cast<int>(flag.values));
      }
    }
    state_->options[flag.name] = option;
    state_->foreign.push_back(flag);
  }
}

void CommandLine::run_file() {
  state_->has_run_file = true;
  state_->app.set_config("--config", "", "", false);
}

void CommandLine::epilogue(const std::string& text) { state_->epilogue = text; }

bool CommandLine::given(const std::string& name) const {
  const auto found = state_->options.find(name);
  return found != state_->options.end() && found->second->count() > 0;
}

bool CommandLine::parse(const std::vector<std::string>& words, bool notices) {
  Problems problems;
  const bool go_on = parse(words, problems, notices);
  problems.raise_if_any();
  return go_on;
}

bool CommandLine::parse(const std::vector<std::string>& words, Problems& problems, bool notices) {
  auto& app = state_->app;
  if (std::any_of(words.begin(), words.end(),
                  [](const auto& word) { return word == "--help" || word == "-h"; })) {
    fmt::print("{}", help());
    return false;
  }
  std::set<std::string> lists;
  for (const auto& [title, fields] : state_->sections) {
    for (const auto& field : fields) {
      if (is_list(field)) lists.insert("--" + field.name);
    }
  }
  std::vector<std::string> reversed = keep_last_of_lists(words, lists);
  std::reverse(reversed.begin(), reversed.end());
  try {
    app.parse(reversed);
  } catch (const CLI::FileError& error) {
    throw UsageError("--config: {}; give the path of a run file in TOML", error.what());
  } catch (const CLI::ParseError& error) {
    throw UsageError("{}; see {} --help", error.what(), state_->name);
  }

  std::vector<std::string> known;
  for (const auto& [name, option] : state_->options) known.push_back(name);
  for (const auto& word : app.remaining()) {
    if (word == "--") continue;
    if (word.starts_with("-") && word != "-") {
      const std::string bare = word.substr(
          word.find_first_not_of('-') == std::string::npos ? 0 : word.find_first_not_of('-'));
      const std::string name = bare.substr(0, bare.find('='));
      const std::string near = nearest_name(name, known);
      problems.add("unknown flag --{}{}", name,
                   near.empty() ? fmt::format("; see {} --help", state_->name)
                                : fmt::format("; did you mean --{}?", near));
    } else {
      const std::string near = nearest_name(word, known);
      problems.add("unexpected word or setting '{}'{}", word,
                   near.empty() ? "" : fmt::format("; did you mean {}?", near));
    }
  }
  for (const auto& flag : state_->foreign) {
    auto* option = state_->options.at(flag.name);
    if (option->count() == 0) continue;
    const auto& results = option->results();
    switch (flag.kind) {
      case ForeignFlag::Kind::kIgnored:
        if (notices)
          fmt::print(stderr, "notice: --{} has no effect here: {}\n", flag.name, flag.text);
        break;
      case ForeignFlag::Kind::kRefused:
        if (!flag.harmless.empty() && results == std::vector{flag.harmless}) break;
        problems.add("--{} is not supported: {}", flag.name, flag.text);
        break;
      case ForeignFlag::Kind::kOldSpelling: {
        if (notices) {
          fmt::print(stderr, "notice: --{} is an old spelling of --{}\n", flag.name, flag.text);
        }
        if (given(flag.text)) break;
        for (const auto& [title, fields] : state_->sections) {
          for (const auto& field : fields) {
            if (field.name != flag.text) continue;
            if (auto problem = set_field(field, results)) problems.add("{}", *problem);
          }
        }
        break;
      }
    }
  }
  for (const auto& [title, fields] : state_->sections) {
    for (const auto& field : fields) {
      const auto* option = state_->options.at(field.name);
      if (option->count() == 0) continue;
      std::vector<std::string> results = option->results();
      if (results == std::vector<std::string>{"{}"}) results.clear();  // CLI11's empty list
      if (auto problem = set_field(field, results)) problems.add("{}", *problem);
    }
  }
  for (const auto& positional : state_->positionals) {
    *positional.values = positional.option->results();
    const auto count = static_cast<int>(positional.values->size());
    if (count < positional.low) {
      problems.add("{} is missing: {}", positional.name, positional.help);
    }
  }
  return true;
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

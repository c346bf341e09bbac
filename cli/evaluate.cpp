// megalith evaluate: picks the task; each has a file evaluate_*.cpp.
#include <cstdio>

#include "cli/commands.hpp"
#include "megalith/core/error.hpp"
#include "megalith/core/fields.hpp"

namespace megalith::cli {
namespace {

struct Task {
  const char* name;
  int (*run)(const Words&);
  const char* summary;
};

// clang-format off
constexpr Task kTasks[] = {
    {"wikitext103",     run_evaluate_wikitext103,     "perplexity as the paper counts it"},
    {"lambada",         run_evaluate_lambada,         "guess the last word of a text"},
    {"perplexity",      run_evaluate_perplexity,      "of any text or indexed dataset"},
    {"multiple-choice", run_evaluate_multiple_choice, "questions with choices, such as BoolQ"},
    {"contamination",   run_evaluate_contamination,   "8-gram overlap of test and training data"},
};
// clang-format on

void print_help(FILE* out) {
  fmt::print(out,
             "Usage: megalith evaluate TASK [flags]\n\n"
             "Zero-shot evaluation of a trained model, and of its training data.\n\n");
  for (const auto& task : kTasks) fmt::print(out, "  {:<17}{}\n", task.name, task.summary);
  fmt::print(out, "\nmegalith evaluate TASK --help lists the flags of a task.\n");
}

}  // namespace

int run_evaluate(const Words& words) {
  if (words.empty()) {
    print_help(stderr);
    return 2;
  }
  if (words[0] == "--help" || words[0] == "-h") {
    print_help(stdout);
    return 0;
  }
  std::vector<std::string> names;
  for (const auto& task : kTasks) {
    if (words[0] == task.name) return task.run(Words(words.begin() + 1, words.end()));
    names.emplace_back(task.name);
  }
  const std::string near = nearest_name(words[0], names);
  throw UsageError(
      "unknown task 'evaluate {}'{}", words[0],
      near.empty() ? "; see megalith evaluate --help" : "; did you mean " + near + "?");
}

}  // namespace megalith::cli

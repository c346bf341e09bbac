// megalith evaluate: picks the task; each has a file evaluate_*.cpp.
#include "cli/command_table.hpp"
#include "cli/commands.hpp"

namespace megalith::cli {
namespace {

// clang-format off
constexpr TableCommand kTasks[] = {
    {"wikitext103",     run_evaluate_wikitext103,     "perplexity as the paper counts it"},
    {"lambada",         run_evaluate_lambada,         "guess the last word of a text"},
    {"perplexity",      run_evaluate_perplexity,      "of any text or indexed dataset"},
    {"multiple-choice", run_evaluate_multiple_choice, "questions with choices; also fine-tuned"},
    {"mnli",            run_evaluate_mnli,            "a model of megalith finetune mnli"},
    {"qqp",             run_evaluate_qqp,             "a model of megalith finetune qqp"},
    {"squad",           run_evaluate_squad,           "a model of megalith finetune squad"},
    {"race",            run_evaluate_race,            "a model of megalith finetune race"},
    {"classification",  run_evaluate_classification,  "one's own classes, fine-tuned"},
    {"contamination",   run_evaluate_contamination,   "8-gram overlap of test and training data"},
};
// clang-format on

}  // namespace

int run_evaluate(const Words& words) {
  return run_from_table(
      {"evaluate", "task", "Evaluation of a trained or fine-tuned model, and of training data.",
       kTasks},
      words);
}

}  // namespace megalith::cli

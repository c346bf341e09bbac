// megalith evaluate lambada and multiple-choice: files of examples, a JSON object a line.
#include <nlohmann/json.hpp>

#include "cli/evaluate_finetuned.hpp"
#include "cli/evaluation.hpp"
#include "megalith/core/atomic_file.hpp"
#include "megalith/tasks/cloze.hpp"
#include "megalith/tasks/multiple_choice.hpp"

namespace megalith::cli {
namespace {

using Json = nlohmann::ordered_json;

Field predictions_field(std::optional<std::string>& predictions) {
  return {"predictions", &predictions, "Write a JSON line for each example here; replaces a file."};
}

void write_lines(const std::string& path, const std::vector<Json>& lines) {
  AtomicFile file(path);
  for (const auto& line : lines) {
    file.write(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  file.commit();
}

struct Cloze {
  bool last_token_only = false;

  std::string settings() const { return fmt::format("{}", last_token_only); }
  auto read(const std::string& path, Problems& problems) const {
    return read_cloze_examples(path, problems);
  }
  auto encode(const std::vector<ClozeExample>& examples, Evaluation& evaluation) const {
    return encode_cloze_examples(evaluation.data(), examples, evaluation.tokenizer(),
                                 !last_token_only, evaluation.window(), evaluation.problems());
  }
  auto evaluate(const GptModel& model, const ProcessGroups& groups,
                const std::vector<Continuing>& encoded, const ScoringOptions& options,
                Report& report) const {
    auto results = evaluate_cloze(model, groups, encoded, options);
    report.add("rule", last_token_only ? "last-token-only" : "strict", "");
    add_cloze(report, encoded, results);
    return results;
  }
  static Json prediction(const ClozeExample& example, const Continuing& encoded,
                         const ClozeResult& result, const Tokenizer& tokenizer) {
    return {{"line", example.line},
            {"target", tokenizer.decode(encoded.target)},
            {"predicted", tokenizer.decode(result.likeliest)},
            {"correct", result.correct},
            {"log_probability", result.log_probability},
            {"tokens", encoded.target.size()}};
  }
};

struct MultipleChoice {
  std::string delimiter = " ";

  std::string settings() const { return fmt::format("'{}'", delimiter); }
  auto read(const std::string& path, Problems& problems) const {
    return read_choice_examples(path, problems);
  }
  auto encode(const std::vector<ChoiceExample>& examples, Evaluation& evaluation) const {
    return encode_choices(evaluation.data(), examples, evaluation.tokenizer(), delimiter,
                          evaluation.window(), evaluation.problems());
  }
  auto evaluate(const GptModel& model, const ProcessGroups& groups,
                const std::vector<EncodedChoices>& encoded, const ScoringOptions& options,
                Report& report) const {
    auto results = evaluate_choices(model, groups, encoded, options);
    add_choices(report, encoded, results);
    return results;
  }
  static Json prediction(const ChoiceExample& example, const EncodedChoices&,
                         const ChoiceResult& result, const Tokenizer&) {
    return {{"line", example.line},
            {"gold", example.gold},
            {"predicted", result.by_sum},
            {"predicted_per_token", result.by_token},
            {"predicted_per_byte", result.by_byte},
            {"correct", result.by_sum == example.gold},
            {"log_probabilities", result.log_probabilities}};
  }
};

/// Flags were added; everything from the words on. A task reads its examples, encodes them,
/// evaluates them, and has a line of predictions for each.
template <class Task>
int run_examples(Evaluation& evaluation, const Words& words, const Task& task,
                 const std::optional<std::string>& predictions) {
  if (!evaluation.parse(words)) return 0;
  evaluation.check_output("predictions", predictions);
  decltype(task.read("", evaluation.problems())) examples;
  if (evaluation.has_data()) {
    evaluation.problems().collect(
        [&] { examples = task.read(evaluation.data(), evaluation.problems()); });
  }
  evaluation.open_model();
  evaluation.problems().raise_if_any();
  const auto encoded = task.encode(examples, evaluation);
  evaluation.problems().raise_if_any();
  evaluation.run(fmt::format("{} examples, {}", examples.size(), task.settings()),
                 [&](const GptModel& model, const ProcessGroups& groups,
                     const ScoringOptions& options, Report& report) {
                   const auto results = task.evaluate(model, groups, encoded, options, report);
                   if (!predictions || groups.world_rank() != 0) return;
                   std::vector<Json> lines;
                   for (size_t i = 0; i < examples.size(); ++i) {
                     lines.push_back(task.prediction(examples[i], encoded[i], results[i],
                                                     evaluation.tokenizer()));
                   }
                   write_lines(*predictions, lines);
                 });
  return 0;
}

}  // namespace

int run_evaluate_lambada(const Words& words) {
  Cloze task;
  std::optional<std::string> predictions;
  Evaluation evaluation(
      "lambada",
      "LAMBADA: guess the last word of each text. All sub-words of the word must be the likeliest, "
      "as in the Megatron-LM paper.",
      "JSON lines {\"text\": ...}, lambada_test.jsonl.");
  evaluation.add_flags({{"last-token-only", &task.last_token_only,
                         "Ask for the last token of the text alone instead of the whole word."},
                        predictions_field(predictions)},
                       {{"strict-lambada", ForeignFlag::Kind::kIgnored, "it is the default"}},
                       "Example:\n"
                       "  megalith evaluate lambada --load checkpoints \\\n"
                       "    --data lambada_test.jsonl --predictions guesses.jsonl");
  return run_examples(evaluation, words, task, predictions);
}

int run_evaluate_multiple_choice(const Words& words) {
  if (asks_for_finetuned(words)) return run_evaluate_finetuned_choices(words);
  MultipleChoice task;
  std::optional<std::string> predictions;
  Evaluation evaluation(
      "multiple-choice",
      "Questions with choices, such as BoolQ: the choice that is likeliest after the query is the "
      "answer; also with likelihoods divided by the tokens or the bytes of the choice.",
      "JSON lines {\"query\": ..., \"choices\": [...], \"gold\": index}.");
  evaluation.add_flags(
      {{"continuation-delimiter", &task.delimiter,
        "Stands between query and choice; spaces at its end belong to the choice.", std::nullopt,
        "a space"},
       predictions_field(predictions)},
      {},
      "Example:\n"
      "  megalith evaluate multiple-choice --load checkpoints --data boolq.jsonl \\\n"
      "    --continuation-delimiter $'\\nAnswer: '");
  return run_examples(evaluation, words, task, predictions);
}

}  // namespace megalith::cli

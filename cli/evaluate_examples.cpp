// megalith evaluate lambada and multiple-choice: files of examples, a JSON object a line.
#include <nlohmann/json.hpp>

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

std::vector<Json> cloze_lines(const std::vector<ClozeExample>& examples,
                              const std::vector<Continuing>& encoded,
                              const std::vector<ClozeResult>& results, const Tokenizer& tokenizer) {
  std::vector<Json> lines;
  for (size_t i = 0; i < examples.size(); ++i) {
    lines.push_back({{"line", examples[i].line},
                     {"target", tokenizer.decode(encoded[i].target)},
                     {"predicted", tokenizer.decode(results[i].likeliest)},
                     {"correct", results[i].correct},
                     {"log_probability", results[i].log_probability},
                     {"tokens", encoded[i].target.size()}});
  }
  return lines;
}

std::vector<Json> choice_lines(const std::vector<ChoiceExample>& examples,
                               const std::vector<ChoiceResult>& results) {
  std::vector<Json> lines;
  for (size_t i = 0; i < examples.size(); ++i) {
    const ChoiceResult& result = results[i];
    lines.push_back({{"line", examples[i].line},
                     {"gold", examples[i].gold},
                     {"predicted", result.by_sum},
                     {"predicted_per_token", result.by_token},
                     {"predicted_per_byte", result.by_byte},
                     {"correct", result.by_sum == examples[i].gold},
                     {"log_probabilities", result.log_probabilities}});
  }
  return lines;
}

}  // namespace

int run_evaluate_lambada(const Words& words) {
  bool last_token_only = false;
  std::optional<std::string> predictions;
  Evaluation evaluation(
      "lambada",
      "LAMBADA: guess the last word of each text. All sub-words of the word must be the likeliest, "
      "as in the Megatron-LM paper.",
      "JSON lines {\"text\": ...}, lambada_test.jsonl.");
  evaluation.add_flags({{"last-token-only", &last_token_only,
                         "Ask for the last token of the text alone instead of the whole word."},
                        predictions_field(predictions)},
                       {{"strict-lambada", ForeignFlag::Kind::kIgnored, "it is the default"}},
                       "Example:\n"
                       "  megalith evaluate lambada --load checkpoints \\\n"
                       "    --data lambada_test.jsonl --predictions guesses.jsonl");
  if (!evaluation.parse(words)) return 0;
  evaluation.check_output("predictions", predictions);
  std::vector<ClozeExample> examples;
  if (evaluation.has_data()) {
    evaluation.collect(
        [&] { examples = read_cloze_examples(evaluation.data(), evaluation.problems()); });
  }
  evaluation.open_model();
  evaluation.problems().raise_if_any();
  const auto encoded =
      encode_cloze_examples(evaluation.data(), examples, evaluation.tokenizer(), !last_token_only,
                            evaluation.window(), evaluation.problems());
  evaluation.problems().raise_if_any();
  evaluation.run(fmt::format("{} examples, {}", examples.size(), last_token_only),
                 [&](const GptModel& model, const ProcessGroups& groups,
                     const ScoringOptions& options, Report& report) {
                   const auto results = evaluate_cloze(model, groups, encoded, options);
                   report.add("rule", last_token_only ? "last-token-only" : "strict", "");
                   add_cloze(report, encoded, results);
                   if (!predictions || groups.world_rank() != 0) return;
                   write_lines(*predictions,
                               cloze_lines(examples, encoded, results, evaluation.tokenizer()));
                 });
  return 0;
}

int run_evaluate_multiple_choice(const Words& words) {
  std::string delimiter = " ";
  std::optional<std::string> predictions;
  Evaluation evaluation(
      "multiple-choice",
      "Questions with choices, such as BoolQ: the choice that is likeliest after the query is the "
      "answer; also with likelihoods divided by the tokens or the bytes of the choice.",
      "JSON lines {\"query\": ..., \"choices\": [...], \"gold\": index}.");
  evaluation.add_flags(
      {{"continuation-delimiter", &delimiter,
        "Stands between query and choice; spaces at its end belong to the choice.", std::nullopt,
        "a space"},
       predictions_field(predictions)},
      {},
      "Example:\n"
      "  megalith evaluate multiple-choice --load checkpoints --data boolq.jsonl \\\n"
      "    --continuation-delimiter $'\\nAnswer: '");
  if (!evaluation.parse(words)) return 0;
  evaluation.check_output("predictions", predictions);
  std::vector<ChoiceExample> examples;
  if (evaluation.has_data()) {
    evaluation.collect(
        [&] { examples = read_choice_examples(evaluation.data(), evaluation.problems()); });
  }
  evaluation.open_model();
  evaluation.problems().raise_if_any();
  const auto encoded = encode_choices(evaluation.data(), examples, evaluation.tokenizer(),
                                      delimiter, evaluation.window(), evaluation.problems());
  evaluation.problems().raise_if_any();
  evaluation.run(fmt::format("{} examples, '{}'", examples.size(), delimiter),
                 [&](const GptModel& model, const ProcessGroups& groups,
                     const ScoringOptions& options, Report& report) {
                   const auto results = evaluate_choices(model, groups, encoded, options);
                   add_choices(report, encoded, results);
                   if (!predictions || groups.world_rank() != 0) return;
                   write_lines(*predictions, choice_lines(examples, results));
                 });
  return 0;
}

}  // namespace megalith::cli

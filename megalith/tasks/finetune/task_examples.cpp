#include "megalith/tasks/finetune/task_examples.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "megalith/tasks/finetune/class_metrics.hpp"
#include "megalith/tasks/finetune/class_predictions.hpp"
#include "megalith/tasks/finetune/ensemble.hpp"

namespace megalith {
namespace {

using Json = nlohmann::ordered_json;

std::string path_of(const PredictionFiles& files, const std::string& name) {
  return (std::filesystem::path(files.folder) / (files.part + "_" + name)).string();
}

/// QQP is scored by the F1 of "the same", too.
std::optional<std::string> f1_class(const TaskConfig& config) {
  return config.task == "qqp" ? std::optional<std::string>("1") : std::nullopt;
}

bool has_labels(const ClassPredictions& predictions) {
  return std::all_of(predictions.rows.begin(), predictions.rows.end(),
                     [](const auto& row) { return row.label.has_value(); });
}

/// GLUE's files for submission, one for each group.
void write_submissions(const ClassPredictions& predictions, const PredictionFiles& files) {
  std::map<std::string, ClassPredictions> groups;
  for (const auto& row : predictions.rows) {
    auto& group = groups[row.group];
    group.classes = predictions.classes;
    group.rows.push_back(row);
  }
  for (const auto& [name, group] : groups) {
    const std::string end = name.empty() ? ".tsv" : "_" + name + ".tsv";
    write_glue_submission(path_of(files, "submission" + end), group);
  }
}

Json finish_classes(const TaskConfig& config, const ClassPredictions& predictions,
                    const PredictionFiles* files) {
  const bool labelled = has_labels(predictions);
  if (files) {
    write_class_predictions(path_of(*files, "predictions.jsonl"), predictions);
    const bool is_glue = config.task == "mnli" || config.task == "qqp";
    if (is_glue && !labelled) write_submissions(predictions, *files);
  }
  if (!labelled) return {{"total", predictions.rows.size()}};
  return score_object(score_classes(predictions, f1_class(config)));
}

std::vector<std::string> notes_of(const ReadReport& report, const FeatureSet& features,
                                  int64_t seq_length) {
  std::vector<std::string> notes = report.texts();
  if (features.num_truncated > 0) {
    notes.push_back(fmt::format("{} of {} examples were cut to {} tokens", features.num_truncated,
                                features.examples.size(), seq_length));
  }
  return notes;
}

/// Classification and multiple choice: `Set` is what was read.
template <class Set>
class LabelledExamples final : public TaskExamples {
 public:
  LabelledExamples(Set set, FeatureSet features, int64_t num_outputs,
                   std::vector<std::string> notes)
      : set_(std::move(set)),
        features_(std::move(features)),
        num_outputs_(num_outputs),
        notes_(std::move(notes)) {}

  size_t size() const override { return features_.examples.size(); }
  TaskRow row(size_t index) const override {
    const ExampleFeatures& example = features_.examples.at(index);
    TaskRow row{.sequences = example.sequences, .label = {}};
    if (example.label) row.label = {*example.label};
    return row;
  }
  int64_t num_outputs() const override { return num_outputs_; }
  bool is_labelled() const override {
    return std::all_of(features_.examples.begin(), features_.examples.end(),
                       [](const auto& example) { return example.label.has_value(); });
  }
  std::vector<std::string> notes() const override { return notes_; }

  Json score(const Logits& logits, const TaskConfig& config,
             const PredictionFiles* files) const override {
    std::vector<float> flat;
    for (const auto& row : logits) flat.insert(flat.end(), row.begin(), row.end());
    return finish_classes(config, class_predictions(set_, flat), files);
  }

 private:
  Set set_;
  FeatureSet features_;
  int64_t num_outputs_;
  std::vector<std::string> notes_;
};

AnswerFiles answer_files(const PredictionFiles& files, bool has_unanswerable) {
  AnswerFiles answers{.answers = path_of(files, "predictions.json"),
                      .n_best = path_of(files, "nbest_predictions.json"),
                      .null_odds = {},
                      .span_logits = path_of(files, "span_logits.jsonl")};
  if (has_unanswerable) answers.null_odds = path_of(files, "null_odds.json");
  return answers;
}

class SpanExamples final : public TaskExamples {
 public:
  SpanExamples(SquadDataset dataset, SquadFeatures features, TaskUse use)
      : dataset_(std::move(dataset)), features_(std::move(features)), use_(use) {}

  size_t size() const override { return features_.windows.size(); }
  TaskRow row(size_t index) const override {
    const SquadWindow& window = features_.windows.at(index);
    TaskRow row{.sequences = {&window.features, 1}, .label = {}};
    if (use_ == TaskUse::kTraining) row.label = {window.start, window.end};
    return row;
  }
  int64_t num_outputs() const override { return 0; }
  bool is_labelled() const override { return dataset_.is_labelled; }
  std::vector<std::string> notes() const override {
    std::vector<std::string> notes = features_.report.texts();
    notes.push_back(fmt::format("{}: {} questions in {} windows", dataset_.path,
                                dataset_.questions.size(), features_.windows.size()));
    return notes;
  }

  Json score(const Logits& logits, const TaskConfig& config,
             const PredictionFiles* files) const override {
    std::vector<WindowLogits> windows;
    for (const auto& row : logits) {
      const std::span<const float> all(row);
      windows.push_back({all.first(all.size() / 2), all.last(all.size() / 2)});
    }
    return finish_squad(dataset_, features_, span_logits(dataset_, features_, windows),
                        config.squad,
                        files ? answer_files(*files, dataset_.has_unanswerable) : AnswerFiles{});
  }

 private:
  SquadDataset dataset_;
  SquadFeatures features_;
  TaskUse use_;
};

template <class Row>
void append(std::vector<Row>& all, std::vector<Row>& more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

void require_labels(const TaskExamples& examples, const std::vector<std::string>& paths) {
  if (examples.is_labelled()) return;
  throw UsageError("{}: has examples without a label; only --test-data may", fmt::join(paths, " "));
}

ClassificationSet read_classes(const TaskConfig& config, const std::string& path,
                               const std::string& group) {
  if (config.task == "mnli") return read_mnli(path, group);
  ClassificationSet set =
      config.task == "qqp" ? read_qqp(path) : read_classification(path, config.classification);
  for (auto& example : set.examples) example.group = group;
  return set;
}

std::unique_ptr<TaskExamples> read_class_examples(const TaskConfig& config,
                                                  const std::vector<std::string>& paths,
                                                  const Tokenizer& tokenizer, int64_t seq_length,
                                                  TaskUse use) {
  ClassificationSet all;
  std::vector<std::string> notes;
  for (const auto& path : paths) {
    // Groups tell scores apart; of what is trained on nothing is told.
    const std::string group = use == TaskUse::kTraining ? "" : group_of(path, paths.size());
    ClassificationSet set = read_classes(config, path, group);
    for (auto& line : set.report.texts()) notes.push_back(std::move(line));
    all.classes = set.classes;
    append(all.examples, set.examples);
  }
  FeatureSet features = build_features(all, tokenizer, seq_length, config.pair_truncation);
  for (auto& line : notes_of(ReadReport(), features, seq_length)) notes.push_back(std::move(line));
  const auto num_classes = static_cast<int64_t>(all.classes.size());
  return std::make_unique<LabelledExamples<ClassificationSet>>(std::move(all), std::move(features),
                                                               num_classes, std::move(notes));
}

std::unique_ptr<TaskExamples> read_choice_examples(const TaskConfig& config,
                                                   const std::vector<std::string>& paths,
                                                   const Tokenizer& tokenizer, int64_t seq_length) {
  ChoiceSet all;
  std::vector<std::string> notes;
  for (const auto& path : paths) {
    ChoiceSet set =
        config.task == "race" ? read_race(path) : read_multiple_choice(path, config.choices);
    for (auto& line : set.report.texts()) notes.push_back(std::move(line));
    if (all.num_choices != 0 && all.num_choices != set.num_choices) {
      throw UsageError("{}: its questions have {} choices, and those of {} have {}", path,
                       set.num_choices, paths.front(), all.num_choices);
    }
    all.num_choices = set.num_choices;
    if (config.task != "race" && paths.size() > 1) {
      for (auto& question : set.questions) question.group = group_of(path, paths.size());
    }
    append(all.questions, set.questions);
  }
  FeatureSet features = build_features(all, tokenizer, seq_length, config.max_qa_length);
  for (auto& line : notes_of(ReadReport(), features, seq_length)) notes.push_back(std::move(line));
  const int64_t num_choices = all.num_choices;
  return std::make_unique<LabelledExamples<ChoiceSet>>(std::move(all), std::move(features),
                                                       num_choices, std::move(notes));
}

const WordPieceTokenizer& word_pieces_of(const Tokenizer& tokenizer) {
  if (const auto* pieces = dynamic_cast<const WordPieceTokenizer*>(&tokenizer)) return *pieces;
  throw UsageError(
      "the tokenizer is {}, which does not tell the places of pieces; SQuAD needs --tokenizer-type "
      "BertWordPieceLowerCase or BertWordPieceCase with BERT's --vocab-file",
      tokenizer.name());
}

}  // namespace

std::string group_of(const std::string& path, size_t num_files) {
  const std::string stem = std::filesystem::path(path).stem().string();
  if (stem.find("mismatched") != std::string::npos) return "mismatched";
  if (stem.find("matched") != std::string::npos) return "matched";
  return num_files > 1 ? stem : "";
}

std::unique_ptr<TaskExamples> read_task_examples(const TaskConfig& config,
                                                 const std::vector<std::string>& paths,
                                                 const Tokenizer& tokenizer, int64_t seq_length,
                                                 TaskUse use) {
  std::unique_ptr<TaskExamples> examples;
  switch (config.recipe().head) {
    case TaskHead::kClasses:
      examples = read_class_examples(config, paths, tokenizer, seq_length, use);
      break;
    case TaskHead::kChoices:
      examples = read_choice_examples(config, paths, tokenizer, seq_length);
      break;
    case TaskHead::kSpans: {
      SquadDataset dataset = read_squad(paths.at(0));
      const SquadUse squad_use =
          use == TaskUse::kTraining ? SquadUse::kTraining : SquadUse::kEvaluation;
      SquadFeatures features = build_squad_features(dataset, word_pieces_of(tokenizer),
                                                    config.squad, seq_length, squad_use);
      examples = std::make_unique<SpanExamples>(std::move(dataset), std::move(features), use);
    }
  }
  if (use == TaskUse::kTraining) require_labels(*examples, paths);
  return examples;
}

std::vector<std::string> classes_of(const TaskConfig& config) {
  if (config.task != "classification") return {};
  std::set<std::string> names;
  for (const auto& path : config.train_data) {
    const auto set = read_classification(path, config.classification);
    names.insert(set.classes.begin(), set.classes.end());
  }
  return sorted_classes({names.begin(), names.end()});
}

std::string averaged_file(const TaskConfig& config, const PredictionFiles& files) {
  const bool is_spans = config.recipe().head == TaskHead::kSpans;
  return path_of(files, is_spans ? "span_logits.jsonl" : "predictions.jsonl");
}

nlohmann::ordered_json score_ensemble(const TaskConfig& config,
                                      const std::vector<std::string>& predictions,
                                      const std::vector<std::string>& data,
                                      const Tokenizer* tokenizer, int64_t seq_length,
                                      const PredictionFiles* files) {
  if (config.recipe().head != TaskHead::kSpans) {
    return finish_classes(config, average_class_predictions(predictions), files);
  }
  const SquadDataset dataset = read_squad(data.at(0));
  const SquadFeatures features = build_squad_features(
      dataset, word_pieces_of(*tokenizer), config.squad, seq_length, SquadUse::kEvaluation);
  return ensemble_spans(dataset, features, predictions, config.squad,
                        files ? answer_files(*files, dataset.has_unanswerable) : AnswerFiles{});
}

}  // namespace megalith

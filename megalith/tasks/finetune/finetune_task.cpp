#include "megalith/tasks/finetune/finetune_task.hpp"

#include <filesystem>

#include "megalith/core/atomic_file.hpp"

namespace megalith {
namespace {

using Json = nlohmann::ordered_json;

/// The scores without the numbers of examples.
std::vector<NamedLoss> as_scores(const Json& object) {
  std::vector<NamedLoss> scores;
  for (const auto& [name, value] : object.items()) {
    if (value.is_number() && name.find("total") == std::string::npos) {
      scores.push_back({name, value.get<double>()});
    }
  }
  return scores;
}

}  // namespace

FinetuneTask::FinetuneTask(TaskConfig config, const FinetuneData& data)
    : config_(std::move(config)), data_(data) {}

void FinetuneTask::open(const TaskRun& run) {
  run_.emplace(run);
  pad_id_ = special_ids(run.tokenizer).pad;
}

TrainingTask::BatchSource FinetuneTask::training_batches(int64_t consumed_samples) const {
  const Group& data = run_->distributed.groups().data();
  const int64_t seq_length = run_->config.training.seq_length;
  // Losses of spans count every place of a row, so that all rows must be of one length.
  const bool is_spans = config_.recipe().head == TaskHead::kSpans;
  EpochOrder order(static_cast<int64_t>(data_.train->size()), run_->batch.final_global_batch(),
                   run_->config.training.seed);
  order.check_position(consumed_samples);
  return [order, consumed = consumed_samples, micro = run_->batch.micro_batch_size(),
          rank = data.rank, replicas = data.size(), device = run_->distributed.device(),
          padding = Padding{pad_id_, is_spans ? seq_length : 0, seq_length},
          train = data_.train.get()]() mutable {
    const auto indices = order.micro_batch(consumed, micro, rank);
    consumed += micro * replicas;
    return example_batch(*train, indices, padding, device);
  };
}

TaskExamples::Logits FinetuneTask::predict(const Model& model, const TaskExamples& examples) const {
  return predict_examples(dynamic_cast<const BertModel&>(model), run_->distributed.groups(),
                          examples,
                          {.micro_batch_size = run_->batch.micro_batch_size(),
                           .pad_id = pad_id_,
                           .seq_length = run_->config.training.seq_length});
}

Evaluation FinetuneTask::validate(const Model& model, int64_t iteration) {
  valid_logits_ = predict(model, *data_.valid);
  valid_iteration_ = iteration;
  valid_scores_ = data_.valid->score(valid_logits_, config_, nullptr);
  return {.scores = as_scores(valid_scores_)};
}

std::optional<Evaluation> FinetuneTask::finish(const Model& model, int64_t iteration) {
  if (valid_iteration_ != iteration) validate(model, iteration);
  metrics_ = {{"task", config_.task},
              {"seed", run_->config.training.seed},
              {"iteration", iteration},
              {"dev", valid_scores_}};
  TaskConfig test_config = config_;
  if (valid_scores_.contains("threshold")) {
    test_config.squad.null_score_diff_threshold = valid_scores_.at("threshold").get<double>();
  }
  TaskExamples::Logits test_logits;
  std::optional<Evaluation> evaluation;
  if (data_.test) {
    test_logits = predict(model, *data_.test);
    metrics_["test"] = data_.test->score(test_logits, test_config, nullptr);
    const auto scores = as_scores(metrics_["test"]);
    if (!scores.empty()) evaluation = Evaluation{.scores = scores};
  }
  run_->distributed.on_first_rank("writing the predictions",
                                  [&] { write_files(test_config, test_logits); });
  return evaluation;
}

void FinetuneTask::write_files(const TaskConfig& test_config,
                               const TaskExamples::Logits& test_logits) const {
  const auto& folder = run_->config.checkpoint.save;
  if (!folder) return;
  const PredictionFiles dev{*folder, "dev"}, test{*folder, "test"};
  data_.valid->score(valid_logits_, config_, &dev);
  if (data_.test) data_.test->score(test_logits, test_config, &test);
  RunConfig config = run_->config;
  const std::filesystem::path beside(*folder);
  write_text_file((beside / "configuration.json").string(), config.to_json().dump(2) + "\n");
  write_text_file((beside / "metrics.json").string(), metrics_.dump(2) + "\n");
}

void set_task_head(ModelConfig& model, TaskHead head, int64_t num_outputs) {
  model.lm_head_transform = model.binary_head = model.pooler = false;
  model.num_classes = head == TaskHead::kClasses ? num_outputs : 0;
  model.multichoice_head = head == TaskHead::kChoices;
  model.qa_head = head == TaskHead::kSpans;
}

}  // namespace megalith

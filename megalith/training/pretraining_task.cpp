#include "megalith/training/pretraining_task.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <nlohmann/json.hpp>

#include "megalith/data/batch_loader.hpp"
#include "megalith/parallel/collectives.hpp"
#include "megalith/training/loss_sums.hpp"

namespace megalith {

PretrainingTask::PretrainingTask() = default;
PretrainingTask::~PretrainingTask() = default;

void PretrainingTask::open(const TaskRun& run) {
  run_.emplace(run);
  const RunConfig& config = run.config;
  DatasetRequest request;
  request.sequence_length = config.training.seq_length;
  request.seed = config.training.seed;
  request.samples = requested_samples(run.total_iterations, config.training.train_samples,
                                      config.logging.eval_interval, config.logging.eval_iters,
                                      run.batch.final_global_batch());
  request.wanted = {!config.training.skip_train && run.total_iterations > 0,
                    config.logging.eval_iters > 0, config.logging.eval_iters > 0};
  request.vocab_size = run.tokenizer.vocab_size();
  request.eod = run.tokenizer.eod();
  request.pad = run.tokenizer.pad();
  if (config.is_bert()) {
    request.kind = DatasetKind::kBert;
    request.bert = config.bert;
    request.word_pieces =
        make_word_pieces(&run.tokenizer, config.model.vocab_size, config.data.mock_data);
  }
  request.tokenizer_json = run.tokenizer.description().dump(4);
  const char* const what = "building the sample index";
  if (run.distributed.groups().world_rank() == 0) {
    request.notice = [](const std::string& line) { fmt::print("{}\n", line); };
    run.distributed.on_first_rank(what, [&] { datasets_ = build_datasets(config.data, request); });
  } else {
    request.role = IndexRole::kLoadOrBuildPrivately;
    request.wait_for_builder = [&] { run.distributed.on_first_rank(what, [] {}); };
    datasets_ = build_datasets(config.data, request);
  }
  if (!request.wanted[0]) return;
  // A cyclic loader starts over when the data end.
  const bool is_cyclic = config.data.dataloader_type == LoaderKind::kCyclic;
  check_training_data(datasets_, is_cyclic ? 0 : request.samples.train);
}

std::unique_ptr<BatchLoader> PretrainingTask::make_loader(Split split, int64_t consumed) const {
  const RunConfig& config = run_->config;
  const Group& data = run_->distributed.groups().data();
  LoaderOptions options;
  options.name = split == Split::kTrain   ? "training"
                 : split == Split::kValid ? "validation"
                                          : "test";
  options.kind = config.data.dataloader_type;
  options.consumed_samples = consumed;
  options.micro_batch_size = run_->batch.micro_batch_size();
  options.replica_index = data.rank;
  options.replica_count = data.size();
  options.data_sharding = !config.data.no_data_sharding;
  options.wrap = split != Split::kTrain;
  options.vocab_size = config.model.vocab_size;
  return std::make_unique<BatchLoader>(datasets_.of(split), options);
}

TrainingTask::BatchSource PretrainingTask::training_batches(int64_t consumed_samples) const {
  const std::shared_ptr<BatchLoader> loader = make_loader(Split::kTrain, consumed_samples);
  return
      [loader, device = run_->distributed.device()] { return to_tensors(loader->next(), device); };
}

bool PretrainingTask::validates() const {
  return datasets_.valid && run_->config.logging.eval_iters > 0;
}

Evaluation PretrainingTask::validate(const Model& model, int64_t iteration) {
  const LoggingConfig& logging = run_->config.logging;
  if (!valid_loader_) {
    // Where an uninterrupted run would stand: one validation for every eval-interval so far.
    const int64_t done = (iteration - 1) / logging.eval_interval;
    valid_loader_ =
        make_loader(Split::kValid, done * logging.eval_iters * run_->batch.final_global_batch());
  }
  return evaluate(model, *valid_loader_);
}

std::optional<Evaluation> PretrainingTask::finish(const Model& model, int64_t) {
  if (!datasets_.test || run_->config.logging.eval_iters == 0) return std::nullopt;
  return evaluate(model, *make_loader(Split::kTest, 0));
}

Evaluation PretrainingTask::evaluate(const Model& model, BatchLoader& loader) const {
  const c10::NoGradGuard no_grad;
  const Group& data = run_->distributed.groups().data();
  at::Tensor sums;
  const int64_t step = run_->batch.micro_batch_size() * data.size();
  const int64_t micro_batches =
      run_->config.logging.eval_iters * (run_->batch.final_global_batch() / step);
  for (int64_t m = 0; m < micro_batches; ++m) {
    const BatchTensors batch = to_tensors(loader.next(), run_->distributed.device());
    LayerContext context;
    const at::Tensor rows = loss_rows(model.losses(batch.input, batch.targets, context, {}));
    sums = sums.defined() ? sums + rows : rows;
  }
  all_reduce(sums, data);
  return {.losses = mean_losses(model, sums)};
}

}  // namespace megalith

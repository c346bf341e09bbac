#include "cli/finetune_run.hpp"

#include "cli/training_run.hpp"
#include "megalith/checkpoint/model_io.hpp"
#include "megalith/tasks/finetune/seed_summary.hpp"
#include "megalith/training/resume_settings.hpp"

namespace megalith::cli {
namespace {

std::string seed_folder(const std::string& folder, int64_t seed) {
  return fmt::format("{}/seed-{}", folder, seed);
}

/// The weights of a pretrained model, for a new run.
void start_from(CheckpointConfig& checkpoint, const std::string& pretrained) {
  checkpoint.load = pretrained;
  checkpoint.finetune = true;
  checkpoint.load_if_exists = false;
  checkpoint.ckpt_step.reset();
}

}  // namespace

std::optional<Checkpoint> FinetuneRun::open_start(Problems& problems) {
  std::optional<Checkpoint> start;
  const bool is_one_run = task_.seeds.empty();
  if (config_.checkpoint.load && is_one_run) {
    const bool opened =
        problems.collect([&] { start = find_training_checkpoint(config_.checkpoint); });
    if (start && !model_config_from(*start).has_task_head()) {
      problems.add(
          "--load {}: holds no fine-tuning run; start from its model by "
          "--pretrained-checkpoint",
          start->folder());
      return std::nullopt;
    }
    if (start || !opened) return start;
  }
  if (!task_.pretrained_checkpoint) {
    problems.add_missing("pretrained-checkpoint",
                         is_one_run ? "give the model to start from, or the run to go on with by "
                                      "--load"
                                    : "give the model that every seed starts from");
    return std::nullopt;
  }
  problems.collect([&] { start = Checkpoint::open(*task_.pretrained_checkpoint); });
  if (is_one_run) start_from(config_.checkpoint, *task_.pretrained_checkpoint);
  return start;
}

void FinetuneRun::prepare(const std::function<bool(const std::string&)>& given,
                          const LaunchEnvironment& environment, Problems& problems) {
  task_.check(problems);
  config_.choose_model("bert");
  const auto start = open_start(problems);
  if (start) take_body_args(config_, *start, given, problems);
  const size_t before = problems.texts().size();
  check_tokenizer_config(config_.tokenizer, problems);
  check_tokenizer_files(config_.tokenizer, problems);
  std::unique_ptr<Tokenizer> tokenizer;
  if (problems.texts().size() == before) {
    problems.collect([&] { tokenizer = make_tokenizer(config_.tokenizer); });
  }
  if (tokenizer) {
    config_.model.vocab_size =
        start ? model_vocab_size(tokenizer->vocab_size(), *start) : tokenizer->vocab_size();
    read_examples(*tokenizer, problems);
  }
  set_length(environment, problems);
  if (start && config_.model.num_layers > 0) config_.resolve_and_check(environment, problems);
  if (start && tokenizer && problems.empty()) review(*start, environment, problems);
}

void FinetuneRun::read_examples(const Tokenizer& tokenizer, Problems& problems) {
  const auto read = [&](const std::vector<std::string>& paths, TaskUse use) {
    std::unique_ptr<TaskExamples> examples;
    if (paths.empty()) return examples;
    problems.collect([&] {
      examples = read_task_examples(task_, paths, tokenizer, config_.training.seq_length, use);
    });
    return examples;
  };
  if (!task_.train_data.empty() && task_.classification.classes.empty()) {
    // What is wrong there is told by the reading that follows.
    Problems ignored;
    ignored.collect([&] { task_.classification.classes = classes_of(task_); });
  }
  data_.train = read(task_.train_data, TaskUse::kTraining);
  data_.valid = read(task_.valid_data, TaskUse::kEvaluation);
  data_.test = read(task_.test_data, TaskUse::kEvaluation);
  if (data_.valid && !data_.valid->is_labelled()) {
    problems.add(
        "--valid-data {}: has examples without a label, and runs are compared by its "
        "score; give labelled examples",
        fmt::join(task_.valid_data, " "));
  }
  for (const auto* set : {data_.valid.get(), data_.test.get()}) {
    if (!set || !data_.train || set->num_outputs() == data_.train->num_outputs()) continue;
    problems.add("the training examples have {} classes or choices, those of {} have {}",
                 data_.train->num_outputs(),
                 fmt::join(set == data_.valid.get() ? task_.valid_data : task_.test_data, " "),
                 set->num_outputs());
  }
  if (data_.train) {
    set_task_head(config_.model, task_.recipe().head, data_.train->num_outputs());
  }
}

void FinetuneRun::set_length(const LaunchEnvironment& environment, Problems& problems) {
  config_.training.train_iters = 1'000'000;  // until it is known
  const int64_t tensor = config_.distributed.tensor_model_parallel_size;
  if (!data_.train || environment.world_size % tensor != 0) return;
  const int64_t batch = config_.batch.resolved_global_batch_size(environment.world_size / tensor);
  const auto examples = static_cast<int64_t>(data_.train->size());
  const int64_t steps = EpochOrder(examples, batch, 0).steps_per_epoch();
  if (steps == 0) {
    problems.add("--global-batch-size {}: there are only {} training examples; give at most that",
                 batch, examples);
    return;
  }
  config_.training.train_iters = steps * task_.epochs;
  config_.logging.eval_interval = steps;
  if (config_.checkpoint.save && !config_.checkpoint.save_interval) {
    config_.checkpoint.save_interval = steps;
  }
}

void FinetuneRun::review(const Checkpoint& start, const LaunchEnvironment& environment,
                         Problems& problems) {
  const int64_t tensor = config_.distributed.tensor_model_parallel_size;
  const Layout layout{.tensor = tensor, .data = environment.world_size / tensor};
  RunConfig run = config_;
  if (!task_.seeds.empty()) start_from(run.checkpoint, *task_.pretrained_checkpoint);
  const auto review =
      review_settings(run, layout, config_.distributed.threads_of_rank(environment), start);
  problems.collect([&] { raise_mistakes(review, start); });
}

std::vector<std::string> FinetuneRun::notes() const {
  std::vector<std::string> notes;
  const auto add = [&](const char* part, const TaskExamples* examples) {
    if (!examples) return;
    notes.push_back(fmt::format("{} {} examples", examples->size(), part));
    for (const auto& note : examples->notes()) notes.push_back(fmt::format("{}: {}", part, note));
  };
  add("training", data_.train.get());
  add("dev", data_.valid.get());
  add("test", data_.test.get());
  return notes;
}

PlanRequest FinetuneRun::plan(const LaunchEnvironment& environment) const {
  PlanRequest request = config_.plan_request(environment.world_size);
  if (config_.model.multichoice_head) request.rows_per_sample = data_.train->num_outputs();
  return request;
}

std::string FinetuneRun::sizes() const {
  return fmt::format("{} {} {}", data_.train->size(), data_.valid->size(),
                     data_.test ? data_.test->size() : 0);
}

RunConfig FinetuneRun::config_of(int64_t seed) const {
  RunConfig run = config_;
  if (task_.seeds.empty()) return run;
  run.training.seed = seed;
  if (run.checkpoint.save) run.checkpoint.save = seed_folder(*run.checkpoint.save, seed);
  if (run.checkpoint.load && !has_no_checkpoint(seed_folder(*run.checkpoint.load, seed))) {
    run.checkpoint.load = seed_folder(*run.checkpoint.load, seed);
  } else {
    start_from(run.checkpoint, *task_.pretrained_checkpoint);
  }
  return run;
}

void FinetuneRun::run(Distributed& distributed, const std::atomic<bool>& stop) const {
  const auto seeds = seeds_of(task_, config_.training.seed);
  const bool talks = distributed.environment().rank == 0;
  std::vector<SeedRun> runs;
  for (const int64_t seed : seeds) {
    if (seeds.size() > 1 && talks) {
      fmt::print("seed {}, run {} of {}\n", seed, runs.size() + 1, seeds.size());
    }
    RunConfig run = config_of(seed);
    FinetuneTask task(task_, data_);
    Trainer trainer(run, task, distributed, stop);
    train(trainer);
    if (!trainer.is_complete()) return;
    runs.push_back({seed, run.checkpoint.save.value_or(""), task.metrics()});
  }
  if (task_.seeds.empty()) return;
  distributed.on_first_rank("writing the summary of the seeds", [&] {
    const auto summary = summarize_seeds(task_, runs);
    fmt::print("{}", summary_text(summary));
    if (config_.checkpoint.save) write_summary(*config_.checkpoint.save, summary);
  });
}

}  // namespace megalith::cli

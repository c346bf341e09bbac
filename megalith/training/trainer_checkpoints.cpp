// The part of trainer.hpp that finds a checkpoint, goes on from it, and saves.
#include <ATen/ATen.h>

#include <filesystem>

#include "megalith/checkpoint/agreement.hpp"
#include "megalith/checkpoint/model_io.hpp"
#include "megalith/checkpoint/save_folder.hpp"
#include "megalith/parallel/collectives.hpp"
#include "megalith/training/resume_settings.hpp"
#include "megalith/training/trainer.hpp"
#include "megalith/training/training_state.hpp"

namespace megalith {

void Trainer::find_checkpoint() {
  if (!config_.checkpoint.load) return;
  std::optional<Checkpoint> found;
  const auto agree = [&](const std::string& failure) {
    const Failures failures = gather_failures(failure, groups_.world(), distributed_.device());
    if (failures.num_failed > 0) throw UsageError(failures.text);
  };
  SettingsReview review;
  agree(failure_of([&] {
    found = find_training_checkpoint(config_.checkpoint);
    if (!found) return;
    config_.model.vocab_size = model_vocab_size(tokenizer_->vocab_size(), *found);
    review = review_settings(config_, groups_.layout(), distributed_.num_threads(), *found);
    raise_mistakes(review, *found);
  }));
  at::Tensor iteration = at::full({1}, found ? found->iteration() : -1, at::kLong);
  iteration = iteration.to(distributed_.device());
  const auto mine = iteration.item<int64_t>();
  broadcast(iteration, groups_.world(), 0);
  agree(
      mine == iteration.item<int64_t>()
          ? ""
          : fmt::format("--load {}: does not see the checkpoint that rank 0 sees; the folder must "
                        "be on a disk that all ranks share",
                        *config_.checkpoint.load));
  if (!found) {
    start_line_ = fmt::format("{} holds no checkpoint; starting anew", *config_.checkpoint.load);
    return;
  }
  if (groups_.world_rank() == 0) fmt::print("{}", conflicts_text(review, *found));
  checkpoint_ = std::make_unique<Checkpoint>(std::move(*found));
}

void Trainer::resume() {
  if (!checkpoint_) return;
  groups_.calls().set_phase("loading the checkpoint");
  const Failures failures = gather_failures(
      failure_of([&] {
        progress_ = load_training_state(config_, *checkpoint_, *model_, *optimizer_, loss_scaler_);
      }),
      groups_.world(), distributed_.device());
  if (failures.num_failed > 0) throw UsageError(failures.text);
  const auto& flags = config_.checkpoint;
  const bool is_saved_already = !flags.finetune && !flags.no_load_optim && flags.save &&
                                std::filesystem::equivalent(*flags.save, *flags.load);
  if (is_saved_already) last_saved_ = progress_.iteration;
  const std::string heads = match_heads(*checkpoint_, model_->config()).text();
  start_line_ =
      flags.finetune
          ? fmt::format("starting from the weights of {}{}{}", checkpoint_->folder(),
                        heads.empty() ? "" : "; ", heads)
          : fmt::format("resumed at iteration {} ({} samples consumed) from {}",
                        progress_.iteration, progress_.consumed_samples, checkpoint_->folder());
  checkpoint_.reset();
}

void Trainer::save(bool is_last) {
  const auto& flags = config_.checkpoint;
  if (!flags.save || last_saved_ == progress_.iteration) return;
  metrics_->say(
      fmt::format("saving a checkpoint at iteration {} to {}", progress_.iteration, *flags.save));
  groups_.calls().set_phase(fmt::format("saving at iteration {}", progress_.iteration));
  try {
    save_training_state(config_, groups_, *model_, *optimizer_, loss_scaler_, progress_);
  } catch (const SaveError& error) {
    if (is_last || flags.on_save_failure == OnSaveFailure::kStop) throw;
    metrics_->say(
        fmt::format("warning: {}; training goes on (--on-save-failure continue)", error.what()));
    return;
  }
  last_saved_ = progress_.iteration;
  if (groups_.world_rank() != 0) return;
  try {
    save_folder_->remove_surplus(progress_.iteration,
                                 {flags.keep_last, flags.save_retain_interval});
  } catch (const RunError& error) {
    metrics_->say(fmt::format("warning: an older checkpoint stays: {}", error.what()));
  }
}

}  // namespace megalith

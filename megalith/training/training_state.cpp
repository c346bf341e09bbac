#include "megalith/training/training_state.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "megalith/checkpoint/model_io.hpp"

namespace megalith {
namespace {

void append_optimizer(std::vector<CheckpointTensor>& tensors, const Optimizer& optimizer) {
  for (const auto& state : optimizer.state()) {
    tensors.push_back({state.prefix, state.tensor, *state.shard});
  }
}

std::string absolute(const std::optional<std::string>& path) {
  return path ? std::filesystem::absolute(*path).string() : "";
}

nlohmann::json meta_of(RunConfig& config, const ProcessGroups& groups, const Optimizer& optimizer,
                       const LossScaler& scaler, const TrainingProgress& progress) {
  TokenizerConfig tokenizer = config.tokenizer;  // with paths that hold from any folder
  if (tokenizer.vocab_file) tokenizer.vocab_file = absolute(tokenizer.vocab_file);
  if (tokenizer.merge_file) tokenizer.merge_file = absolute(tokenizer.merge_file);
  nlohmann::json meta;
  meta["program"] = "megalith";
  meta["iteration"] = progress.iteration;
  meta["model"] = fields_to_json(config.model.shape_fields());
  meta["tokenizer"] = fields_to_json(tokenizer.fields());
  meta["configuration"] = config.to_json();
  meta["layout"] = {{"tensor", groups.layout().tensor}, {"data", groups.layout().data}};
  meta["training"] = {{"consumed_samples", progress.consumed_samples},
                      {"schedule_samples", progress.schedule_samples},
                      {"skipped_iterations", progress.skipped_iterations},
                      {"optimizer_updates", optimizer.num_updates()},
                      {"loss_scale", scaler.state().scale},
                      {"loss_scale_growth_tracker", scaler.state().growth_tracker},
                      {"loss_scale_hysteresis_tracker", scaler.state().hysteresis_tracker}};
  return meta;
}

/// Lists where the flags describe another model than the checkpoint holds.
void check_shape(RunConfig& config, const nlohmann::json& stored, const std::string& folder) {
  Problems problems;
  const nlohmann::json flags = fields_to_json(config.model.shape_fields());
  for (const auto& [flag, value] : flags.items()) {
    const auto saved = stored.find(flag);
    if (saved != stored.end() && *saved != value) {
      problems.add("--{}: the checkpoint says {}, the flags say {}; {} holds another model", flag,
                   saved->dump(), value.dump(), folder);
    }
  }
  problems.raise_if_any();
}

}  // namespace

void save_training_state(RunConfig& config, const ProcessGroups& groups, GptModel& model,
                         Optimizer& optimizer, const LossScaler& loss_scaler,
                         const TrainingProgress& progress) {
  auto tensors = weights_of(model);
  if (!config.checkpoint.no_save_optim) append_optimizer(tensors, optimizer);
  save_checkpoint(*config.checkpoint.save, progress.iteration, tensors,
                  meta_of(config, groups, optimizer, loss_scaler, progress), groups);
}

TrainingProgress load_training_state(RunConfig& config, const ProcessGroups& groups,
                                     GptModel& model, Optimizer& optimizer,
                                     LossScaler& loss_scaler) {
  const std::string& folder = *config.checkpoint.load;
  if (config.checkpoint.load_if_exists && !latest_iteration(folder)) return {};
  const Checkpoint checkpoint = Checkpoint::open(folder, config.checkpoint.ckpt_step);
  const auto& meta = checkpoint.meta();
  check_shape(config, meta.at("model"), checkpoint.folder());

  auto tensors = weights_of(model);
  const bool resumes = !config.checkpoint.finetune && !config.checkpoint.no_load_optim;
  if (!resumes) {
    checkpoint.read(tensors, Checkpoint::DtypeMismatch::kConvert);
    optimizer.adopt_parameters();
  } else {
    if (checkpoint.names("optimizer").empty()) {
      throw UsageError("{}: holds no optimizer state; give --no-load-optim or --finetune",
                       checkpoint.folder());
    }
    append_optimizer(tensors, optimizer);
    checkpoint.read(tensors);
  }
  if (config.checkpoint.finetune) return {};

  const auto& stored = meta.at("training");
  if (resumes) optimizer.restore(stored.at("optimizer_updates"));
  loss_scaler.restore({stored.at("loss_scale"), stored.at("loss_scale_growth_tracker"),
                       stored.at("loss_scale_hysteresis_tracker")});
  const auto& layout = meta.at("layout");
  const bool dropout = config.model.hidden_dropout > 0 || config.model.attention_dropout > 0;
  if (groups.world_rank() == 0 && dropout &&
      (layout.at("tensor") != groups.layout().tensor ||
       layout.at("data") != groups.layout().data)) {
    fmt::print(
        "notice: the checkpoint was saved by tensor {} x data {} ranks; dropout continues on "
        "other masks\n",
        layout.at("tensor").get<int64_t>(), layout.at("data").get<int64_t>());
  }
  return {.iteration = checkpoint.iteration(),
          .consumed_samples = stored.at("consumed_samples"),
          .schedule_samples = stored.at("schedule_samples"),
          .skipped_iterations = stored.at("skipped_iterations")};
}

}  // namespace megalith

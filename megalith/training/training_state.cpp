#include "megalith/training/training_state.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "megalith/checkpoint/model_io.hpp"

namespace megalith {
namespace {

constexpr const char* kMainPrefix = "optimizer.main.";

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
  if (tokenizer.tokenizer_model) {
    tokenizer.tokenizer_model = absolute(tokenizer_file(*tokenizer.tokenizer_model));
  }
  nlohmann::json meta;
  meta["program"] = "megalith";
  meta["iteration"] = progress.iteration;
  meta["model"] = fields_to_json(config.model.shape_fields());
  if (!progress.hugging_face.empty()) {
    meta["hugging_face"] = nlohmann::json::parse(progress.hugging_face);
  }
  meta["tokenizer"] = fields_to_json(tokenizer.fields());
  meta["configuration"] = config.to_json();
  meta["layout"] = {{"tensor", groups.layout().tensor},
                    {"data", groups.layout().data},
                    {"threads", at::get_num_threads()}};
  meta["training"] = {{"consumed_samples", progress.consumed_samples},
                      {"schedule_samples", progress.schedule_samples},
                      {"skipped_iterations", progress.skipped_iterations},
                      {"validated_iteration", progress.validated_iteration},
                      {"optimizer_updates", optimizer.num_updates()},
                      {"loss_scale", scaler.state().scale},
                      {"loss_scale_growth_tracker", scaler.state().growth_tracker},
                      {"loss_scale_hysteresis_tracker", scaler.state().hysteresis_tracker}};
  return meta;
}

/// Where the exact weights of a checkpoint lie: main parameters where there are some.
std::string exact_weights_prefix(const Checkpoint& checkpoint) {
  const auto names = checkpoint.names("optimizer");
  const bool has_main = std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name.starts_with(kMainPrefix);
  });
  return has_main ? kMainPrefix : "";
}

/// What a run that goes on reads.
std::vector<CheckpointTensor> resumed_tensors(const Checkpoint& checkpoint, const Model& model,
                                              const Optimizer& optimizer) {
  std::vector<CheckpointTensor> tensors = weights_of(model);
  append_optimizer(tensors, optimizer);
  if (weights_dtype(checkpoint) == model.dtype()) return tensors;
  // Another precision: the exact weights become main parameters, or weights where a run has no
  // others; restore() rounds them into the model.
  const std::string exact = exact_weights_prefix(checkpoint);
  const bool has_main = std::any_of(tensors.begin(), tensors.end(),
                                    [](const auto& t) { return t.prefix == kMainPrefix; });
  if (has_main) std::erase_if(tensors, [](const auto& tensor) { return tensor.prefix.empty(); });
  for (auto& tensor : tensors) {
    if (tensor.prefix.empty() || tensor.prefix == kMainPrefix) tensor.prefix = exact;
  }
  return tensors;
}

/// A scale that moved goes on; one that was constant, or 1 for want of fp16, says nothing.
bool has_dynamic_scale(const nlohmann::json& meta) {
  const auto found = meta.find("configuration");
  if (found == meta.end()) return false;  // converted
  const nlohmann::json& configuration = *found;
  return configuration.at("Training").at("fp16") == true &&
         configuration.at("Loss scale (fp16)").at("loss-scale").is_null();
}

}  // namespace

void save_training_state(RunConfig& config, const ProcessGroups& groups, Model& model,
                         Optimizer& optimizer, const LossScaler& loss_scaler,
                         const TrainingProgress& progress) {
  auto tensors = weights_of(model);
  if (!config.checkpoint.no_save_optim) append_optimizer(tensors, optimizer);
  save_checkpoint(*config.checkpoint.save, progress.iteration, tensors,
                  meta_of(config, groups, optimizer, loss_scaler, progress), groups);
}

TrainingProgress load_training_state(RunConfig& config, const Checkpoint& checkpoint, Model& model,
                                     Optimizer& optimizer, LossScaler& loss_scaler) {
  const bool resumes = !config.checkpoint.finetune && !config.checkpoint.no_load_optim;
  if (resumes) {
    checkpoint.read(resumed_tensors(checkpoint, model, optimizer));
    optimizer.restore(checkpoint.meta().at("training").at("optimizer_updates"));
  } else {
    load_body(checkpoint, model);  // heads differ only in a new run: resume_settings.hpp
    optimizer.adopt_parameters();
  }
  const auto& meta = checkpoint.meta();
  const std::string origin = meta.contains("hugging_face") ? meta.at("hugging_face").dump() : "";
  if (config.checkpoint.finetune) return {.hugging_face = origin};
  const auto& stored = checkpoint.meta().at("training");
  if (has_dynamic_scale(checkpoint.meta())) {
    loss_scaler.restore({stored.at("loss_scale"), stored.at("loss_scale_growth_tracker"),
                         stored.at("loss_scale_hysteresis_tracker")});
  }
  return {.iteration = checkpoint.iteration(),
          .consumed_samples = stored.at("consumed_samples"),
          .schedule_samples = stored.at("schedule_samples"),
          .skipped_iterations = stored.value("skipped_iterations", int64_t{0}),
          .validated_iteration = stored.value("validated_iteration", checkpoint.iteration()),
          .hugging_face = origin};
}

}  // namespace megalith

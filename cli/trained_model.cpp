#include "cli/trained_model.hpp"

#include <c10/core/ScalarType.h>

#include <filesystem>
#include <nlohmann/json.hpp>

namespace megalith::cli {

TokenizerConfig recorded_tokenizer(const TokenizerConfig& given, const nlohmann::json& meta,
                                   const std::string& origin) {
  TokenizerConfig config;
  const auto stored = meta.find("tokenizer");
  if (stored != meta.end() && stored->is_object()) {
    fields_from_json(config.fields(), *stored, origin);
  }
  if (given.tokenizer_type && given.tokenizer_type != config.tokenizer_type) config = {};
  if (given.tokenizer_type) config.tokenizer_type = given.tokenizer_type;
  if (given.vocab_size) config.vocab_size = given.vocab_size;
  Problems problems;
  const auto use_file = [&](const char* flag, const std::optional<std::string>& file,
                            std::optional<std::string>& recorded) {
    if (recorded && recorded->empty()) recorded.reset();
    if (file) recorded = file;
    if (!file && recorded && !std::filesystem::exists(*recorded)) {
      problems.add("{}: the checkpoint's tokenizer file is no longer there ({}); give --{}",
                   *recorded, origin, flag);
    }
  };
  use_file("vocab-file", given.vocab_file, config.vocab_file);
  use_file("merge-file", given.merge_file, config.merge_file);
  use_file("tokenizer-model", given.tokenizer_model, config.tokenizer_model);
  problems.raise_if_any();
  return config;
}

at::ScalarType TrainedModelFlags::compute_type(at::ScalarType stored) const {
  if (fp32) return at::kFloat;
  if (bf16) return at::kBFloat16;
  return fp16 ? at::kHalf : stored;
}

FieldList TrainedModelFlags::fields() {
  return {
      {"load", &load, "The checkpoints' folder, or the folder of one checkpoint."},
      {"ckpt-step", &ckpt_step, "The iteration to load.", at_least(0), "the latest"},
      {"fp32", &fp32, "Compute in fp32, whatever the weights are stored in."},
      {"bf16", &bf16, "Compute in bf16."},
      {"fp16", &fp16, "Compute in fp16."},
  };
}

void TrainedModelFlags::check(Problems& problems) const {
  if (!load) {
    problems.add_missing("load", "give the folder that megalith pretrain --save wrote");
  }
  if (int{fp32} + int{bf16} + int{fp16} > 1) {
    problems.add("--fp32, --bf16 and --fp16 exclude each other; give at most one");
  }
}

std::vector<ForeignFlag> model_shape_flags() {
  using Kind = ForeignFlag::Kind;
  std::vector<ForeignFlag> flags{
      {"use-checkpoint-args", Kind::kIgnored, "the checkpoint always says what the model is"}};
  ModelConfig model;
  for (const auto& field : model.fields()) {
    const bool is_switch = std::holds_alternative<bool*>(field.value);
    flags.push_back(
        {field.name, Kind::kRefused, "the checkpoint says what the model is", is_switch ? 0 : 1});
  }
  return flags;
}

std::string TrainedModel::comparable() const {
  return fmt::format("iteration {} in {}", checkpoint.iteration(), c10::toString(dtype));
}

TrainedModel open_trained_model(const TrainedModelFlags& flags, const TokenizerConfig& tokenizer,
                                int64_t tensor_size, Problems& problems,
                                ModelConfig (*config_of)(const Checkpoint&)) {
  const Checkpoint checkpoint = Checkpoint::open(*flags.load, flags.ckpt_step);
  TrainedModel model{
      checkpoint, config_of(checkpoint),
      make_tokenizer(recorded_tokenizer(tokenizer, checkpoint.meta(), checkpoint.folder())),
      flags.compute_type(weights_dtype(checkpoint))};
  model.config.check(tensor_size, problems);
  check_tokenizer_size(model.tokenizer->vocab_size(), checkpoint, problems);
  return model;
}

}  // namespace megalith::cli

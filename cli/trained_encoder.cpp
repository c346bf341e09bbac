#include "cli/trained_encoder.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/hugging_face_tokenizer.hpp"
#include "megalith/checkpoint/hugging_face.hpp"

namespace megalith::cli {
namespace {

namespace fs = std::filesystem;

bool is_hugging_face(const std::string& path) {
  return fs::is_regular_file(path) || fs::exists(fs::path(path) / kHuggingFaceConfig);
}

void require_encoder(const ModelConfig& config, const std::string& origin) {
  if (config.bidirectional) return;
  throw UsageError(
      "{}: holds a GPT, whose tokens see only what comes before them; megalith embed takes a BERT: "
      "a checkpoint of pretrain bert or import-hf, or a Hugging Face folder of model_type bert",
      origin);
}

ModelConfig encoder_config_from(const Checkpoint& checkpoint) {
  ModelConfig config = model_config_from(checkpoint);
  require_encoder(config, checkpoint.folder());
  return config;
}

TrainedEncoder of_checkpoint(const TrainedModelFlags& flags, const TokenizerConfig& tokenizer,
                             int64_t tensor_size, Problems& problems) {
  TrainedModel model =
      open_trained_model(flags, tokenizer, tensor_size, problems, encoder_config_from);
  TrainedEncoder encoder;
  encoder.origin = model.checkpoint.folder();
  encoder.identity = fmt::format("iteration {}", model.checkpoint.iteration());
  encoder.config = model.config;
  encoder.tokenizer = std::move(model.tokenizer);
  encoder.dtype = model.dtype;
  encoder.load_weights = [checkpoint = model.checkpoint](Model& bert) {
    megalith::load_weights(checkpoint, bert);
  };
  return encoder;
}

TrainedEncoder of_hugging_face(const TrainedModelFlags& flags, const TokenizerConfig& tokenizer,
                               int64_t tensor_size, Problems& problems) {
  if (flags.ckpt_step) {
    problems.add("--ckpt-step {}: {} is a Hugging Face model, which has no iterations",
                 *flags.ckpt_step, *flags.load);
  }
  const HuggingFaceModel model = open_hugging_face(*flags.load);
  TrainedEncoder encoder;
  encoder.origin = *flags.load;
  encoder.identity = "a Hugging Face model";
  encoder.config = model.source.config;
  require_encoder(encoder.config, encoder.origin);
  nlohmann::json meta;
  meta["tokenizer"] = tokenizer_beside(model.files->folder(), model.config.family);
  encoder.tokenizer = make_tokenizer(recorded_tokenizer(tokenizer, meta, encoder.origin));
  if (encoder.tokenizer->vocab_size() > encoder.config.vocab_size) {
    problems.add(
        "the tokenizer has {} entries and the model of {} has {}; give the flags of the "
        "tokenizer it was trained with",
        encoder.tokenizer->vocab_size(), encoder.origin, encoder.config.vocab_size);
  }
  encoder.dtype = flags.compute_type(weights_dtype(model.source));
  encoder.config.check(tensor_size, problems);
  encoder.load_weights = [source = model.source](Model& bert) {
    megalith::load_weights(source, bert);
  };
  return encoder;
}

}  // namespace

BertModel TrainedEncoder::load(const Distributed& distributed) const {
  BertModel model(config, distributed.groups(), dtype, distributed.device(), /*seed=*/std::nullopt);
  load_weights(model);
  return model;
}

TrainedEncoder open_trained_encoder(const TrainedModelFlags& flags,
                                    const TokenizerConfig& tokenizer, int64_t tensor_size,
                                    Problems& problems) {
  return is_hugging_face(*flags.load) ? of_hugging_face(flags, tokenizer, tensor_size, problems)
                                      : of_checkpoint(flags, tokenizer, tensor_size, problems);
}

}  // namespace megalith::cli

#include "megalith/checkpoint/model_io.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "megalith/checkpoint/manifest.hpp"

namespace megalith {

ModelConfig model_config_from(const Checkpoint& checkpoint) {
  const auto& meta = checkpoint.meta();
  const auto stored = meta.find("model");
  if (stored == meta.end() || !stored->is_object()) {
    throw UsageError("{}: does not say what model it holds; give a folder that megalith saved",
                     checkpoint.folder());
  }
  ModelConfig config;
  fields_from_json(config.shape_fields(), *stored, checkpoint.folder());
  return config;
}

at::ScalarType weights_dtype(const Checkpoint& checkpoint) {
  std::map<at::ScalarType, int64_t> elements;
  for (const auto& tensor : checkpoint.manifest().tensors) {
    if (tensor.kind == "model") elements[tensor.dtype] += tensor.num_elements();
  }
  if (elements.empty()) {
    throw UsageError("{}: holds no weights; give a checkpoint of a model", checkpoint.folder());
  }
  const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  return std::max_element(elements.begin(), elements.end(), fewer)->first;
}

int64_t model_vocab_size(int64_t tokenizer_size, const Checkpoint& checkpoint) {
  if (!checkpoint.meta().contains("hugging_face")) return tokenizer_size;
  return std::max(tokenizer_size, model_config_from(checkpoint).vocab_size);
}

void check_tokenizer_size(int64_t tokenizer_size, const Checkpoint& checkpoint,
                          Problems& problems) {
  const int64_t stored = model_config_from(checkpoint).vocab_size;
  if (model_vocab_size(tokenizer_size, checkpoint) == stored) return;
  problems.add(
      "the tokenizer has {} entries and the model of {} has {}; give the flags of the "
      "tokenizer it was trained with",
      tokenizer_size, checkpoint.folder(), stored);
}

std::vector<CheckpointTensor> weights_of(const GptModel& model) {
  std::vector<CheckpointTensor> tensors;
  for (const auto& parameter : model.parameters()) {
    tensors.push_back({"", parameter.value.detach(), parameter.shard});
  }
  return tensors;
}

void load_weights(const Checkpoint& checkpoint, GptModel& model) {
  checkpoint.read(weights_of(model), Checkpoint::DtypeMismatch::kConvert);
}

}  // namespace megalith

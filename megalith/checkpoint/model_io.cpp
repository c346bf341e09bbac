#include "megalith/checkpoint/model_io.hpp"

#include <ATen/ATen.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "megalith/checkpoint/manifest.hpp"

namespace megalith {
namespace {

at::ScalarType commonest(const std::map<at::ScalarType, int64_t>& elements) {
  const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  return std::max_element(elements.begin(), elements.end(), fewer)->first;
}

/// The box of a whole tensor.
at::Tensor box_of(at::Tensor whole, const Box& box) {
  for (size_t dim = 0; dim < box.offset.size(); ++dim) {
    whole = whole.narrow(static_cast<int64_t>(dim), box.offset[dim], box.length[dim]);
  }
  return whole;
}

}  // namespace

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

ModelConfig gpt_config_from(const Checkpoint& checkpoint) {
  ModelConfig config = model_config_from(checkpoint);
  if (config.bidirectional) {
    throw UsageError("{}: holds a {} model; give a checkpoint of a GPT", checkpoint.folder(),
                     config.family());
  }
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
  return commonest(elements);
}

at::ScalarType weights_dtype(const ModelSource& source) {
  std::map<at::ScalarType, int64_t> elements;
  for (const auto& tensor : source.tensors) {
    elements[tensor.dtype] += c10::multiply_integers(tensor.shape);
  }
  if (elements.empty()) throw UsageError("{}: holds no weights", source.origin);
  return commonest(elements);
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

std::vector<CheckpointTensor> weights_of(const Model& model) {
  std::vector<CheckpointTensor> tensors;
  for (const auto& parameter : model.parameters()) {
    tensors.push_back({"", parameter.value.detach(), parameter.shard});
  }
  return tensors;
}

void load_weights(const Checkpoint& checkpoint, Model& model) {
  checkpoint.read(weights_of(model), Checkpoint::DtypeMismatch::kConvert);
}

void load_weights(const ModelSource& source, Model& model) {
  std::map<std::string, const SourceTensor*> by_name;
  for (const auto& tensor : source.tensors) by_name[tensor.name] = &tensor;
  Problems problems;
  for (const auto& parameter : model.parameters()) {
    for (const auto& box : parameter.shard.boxes) {
      const auto found = by_name.find(box.name);
      if (found == by_name.end() || found->second->shape != box.global_shape) {
        problems.add("{}: has no tensor '{}' [{}]", source.origin, box.name,
                     fmt::join(box.global_shape, ", "));
      }
    }
  }
  problems.raise_if_any();
  for (const auto& parameter : model.parameters()) {
    const at::Tensor local = parameter.value.detach();
    for (const auto& box : parameter.shard.boxes) {
      box_view(local, box).copy_(box_of(by_name.at(box.name)->read(), box));
    }
  }
}

std::string HeadMatch::text() const {
  std::string text;
  if (!drawn.empty()) {
    text = fmt::format("{} {} not in it and start{} from random weights", fmt::join(drawn, " and "),
                       drawn.size() == 1 ? "is" : "are", drawn.size() == 1 ? "s" : "");
  }
  if (unused.empty()) return text;
  return fmt::format("{}{}its {} {} not used", text, text.empty() ? "" : "; ",
                     fmt::join(unused, " and "), unused.size() == 1 ? "is" : "are");
}

HeadMatch match_heads(const Checkpoint& checkpoint, const ModelConfig& model) {
  const ModelConfig stored = model_config_from(checkpoint);
  const auto theirs = stored.head_names(), ours = model.head_names();
  const auto has = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const auto agrees = [&](const std::string& name) {
    return has(theirs, name) && has(ours, name) &&
           (name != "classification_head" || stored.num_classes == model.num_classes);
  };
  HeadMatch match;
  for (const auto& name : ours) (agrees(name) ? match.loaded : match.drawn).push_back(name);
  for (const auto& name : theirs) {
    if (!agrees(name)) match.unused.push_back(name);
  }
  return match;
}

HeadMatch load_body(const Checkpoint& checkpoint, Model& model) {
  HeadMatch match = match_heads(checkpoint, model.config());
  auto tensors = weights_of(model);
  std::erase_if(tensors, [&](const CheckpointTensor& tensor) {
    const auto& boxes = tensor.shard.boxes;  // none where a rank has only padding
    return std::any_of(match.drawn.begin(), match.drawn.end(), [&](const std::string& head) {
      return !boxes.empty() && boxes.front().name.starts_with(head + ".");
    });
  });
  checkpoint.read(tensors, Checkpoint::DtypeMismatch::kConvert);
  return match;
}

}  // namespace megalith

// The part of hugging_face.hpp that writes.
#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "megalith/checkpoint/checkpoint_writer.hpp"
#include "megalith/checkpoint/hugging_face.hpp"
#include "megalith/checkpoint/hugging_face_bert.hpp"
#include "megalith/checkpoint/manifest.hpp"
#include "megalith/checkpoint/model_io.hpp"
#include "megalith/core/atomic_file.hpp"
#include "megalith/core/output_folder.hpp"
#include "megalith/core/stopwatch.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

Json original_config(const Checkpoint& checkpoint) {
  const Json& meta = checkpoint.meta();
  const auto found = meta.find("hugging_face");
  if (found == meta.end() || !found->is_object() || !found->contains("config"))
    return Json::object();
  return found->at("config");
}

std::string torch_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kDouble:
      return "float64";
    default:
      return "float32";
  }
}

/// The tensors with what the files need to know of them.
struct PlannedTensor {
  HuggingFaceTensor tensor;
  SafetensorsEntry entry;
  int64_t bytes = 0;
};

std::vector<PlannedTensor> plan_tensors(const Checkpoint& checkpoint, HuggingFaceFamily family,
                                        const ModelConfig& config) {
  Problems problems;
  std::vector<PlannedTensor> planned;
  for (auto& tensor : hugging_face_tensors(family, config)) {
    std::optional<at::ScalarType> dtype;
    for (const auto& part : tensor.parts) {
      const auto* stored = checkpoint.manifest().find(part.name);
      if (stored == nullptr || stored->shape != part.shape) {
        problems.add("{}: has no tensor '{}' [{}], which its model needs", checkpoint.folder(),
                     part.name, fmt::join(part.shape, ", "));
      } else if (dtype && *dtype != stored->dtype) {
        problems.add("{}: the parts of '{}' have several types; they become one tensor there",
                     checkpoint.folder(), tensor.name);
      } else {
        dtype = stored->dtype;
      }
    }
    PlannedTensor plan{tensor, {tensor.name, dtype.value_or(at::kFloat), tensor.shape()}, 0};
    plan.bytes = static_cast<int64_t>(c10::elementSize(plan.entry.dtype));
    for (const int64_t size : plan.entry.shape) plan.bytes *= size;
    planned.push_back(std::move(plan));
  }
  problems.raise_if_any();
  return planned;
}

/// Consecutive tensors up to `most` bytes a file; a larger tensor has one of its own.
std::vector<std::vector<PlannedTensor>> cut_into_shards(std::vector<PlannedTensor> tensors,
                                                        int64_t most) {
  std::vector<std::vector<PlannedTensor>> shards(1);
  int64_t filled = 0;
  for (auto& tensor : tensors) {
    if (!shards.back().empty() && filled + tensor.bytes > most) {
      shards.emplace_back();
      filled = 0;
    }
    filled += tensor.bytes;
    shards.back().push_back(std::move(tensor));
  }
  return shards;
}

void write_shard(const Checkpoint& checkpoint, const std::vector<PlannedTensor>& tensors,
                 const std::string& path) {
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, const HuggingFaceTensor*> by_name;
  for (const auto& tensor : tensors) {
    entries.push_back(tensor.entry);
    by_name[tensor.entry.name] = &tensor.tensor;
  }
  // transformers asks for the framework.
  SafetensorsWriter writer(path, std::move(entries), {{"format", "pt"}},
                           SafetensorsWriter::Sums::kNone);
  // Without looking at checksums: check_folder does, when all is written.
  const auto read = [&](const std::string& name) { return checkpoint.map_global(name); };
  for (const auto& entry : writer.entries()) writer.append(by_name.at(entry.name)->join(read));
  writer.commit();
}

void write_weights(const Checkpoint& checkpoint, HuggingFaceFamily family,
                   const ModelConfig& config, const fs::path& folder, int64_t max_shard_bytes) {
  const auto shards = cut_into_shards(plan_tensors(checkpoint, family, config), max_shard_bytes);
  if (shards.size() == 1) {
    write_shard(checkpoint, shards[0], (folder / kHuggingFaceWeights).string());
    return;
  }
  nlohmann::ordered_json index;
  int64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    write_shard(checkpoint, shards[i], (folder / name).string());
    for (const auto& tensor : shards[i]) {
      total += tensor.bytes;
      index["weight_map"][tensor.entry.name] = name;
    }
  }
  index["metadata"]["total_size"] = total;
  write_text_file((folder / kHuggingFaceIndex).string(), index.dump(2) + "\n");
}

/// The model with what its flags leave to be derived filled in: equal models give equal objects.
Json resolved(ModelConfig config) {
  config.ffn_hidden_size_flag = config.ffn_hidden_size();
  config.kv_channels_flag = config.head_size();
  config.num_query_groups_flag = config.num_query_groups();
  config.group_query_attention = true;
  config.add_qkv_bias = config.qkv_bias();
  config.add_proj_bias = config.proj_bias();
  const bool has_pooler = config.has_pooler();
  config.pooler = has_pooler;
  RopeScaling& rope = config.rope_scaling;
  if (config.position_embedding != PositionEmbedding::kRope) {
    config.rotary_base = ModelConfig().rotary_base;
    rope = {};
  }
  if (rope.type == RopeScalingType::kLlama3 || rope.type == RopeScalingType::kYarn) {
    rope.factor_flag = rope.factor();
    rope.original_positions_flag = rope.original_positions();
  }
  return fields_to_json(config.shape_fields());
}

/// What was written, read as anybody's.
void check_folder(const Checkpoint& checkpoint, const ModelConfig& config,
                  const std::string& folder) {
  const HuggingFaceModel model = open_hugging_face(folder);
  const Json wanted = resolved(config), got = resolved(model.source.config);
  for (const auto& [name, value] : wanted.items()) {
    if (got.at(name) == value) continue;
    throw RunError("{}: --{} is {}, and {} there", checkpoint.folder(), name, value.dump(),
                   got.at(name).dump());
  }
  check_gives_back(checkpoint, model);
}

/// The model as its files will have it.
ModelConfig exported_model(const Checkpoint& checkpoint, HuggingFaceFamily family,
                           const std::optional<std::string>& architecture) {
  const ModelConfig config = model_config_from(checkpoint);
  if (!architecture) return config;
  Problems problems;
  const auto& known = bert_architectures();
  if (family != HuggingFaceFamily::kBert) {
    problems.add("--architecture {}: only BERT has several classes; leave it out", *architecture);
  } else if (std::find(known.begin(), known.end(), *architecture) == known.end()) {
    problems.add("--architecture {} is not supported; supported are {}", *architecture,
                 fmt::join(known, ", "));
  }
  problems.raise_if_any();
  ModelConfig reduced = as_bert_architecture(config, *architecture, checkpoint.folder(), problems);
  problems.raise_if_any();
  return reduced;
}

}  // namespace

HuggingFaceFamily choose_family(const Checkpoint& checkpoint,
                                std::optional<HuggingFaceFamily> wanted) {
  const ModelConfig config = model_config_from(checkpoint);
  std::vector<HuggingFaceFamily> candidates;
  if (wanted) {
    candidates = {*wanted};
  } else {
    const Json original = original_config(checkpoint);
    for (const auto& name : hugging_face_families()) {
      if ((name.family == HuggingFaceFamily::kBert) != config.bidirectional) continue;
      const bool is_original = original.value("model_type", "") == name.model_type;
      candidates.insert(is_original ? candidates.begin() : candidates.end(), name.family);
    }
  }
  Problems problems;
  for (const auto family : candidates) {
    const auto misfits = hugging_face_misfits(family, config);
    if (misfits.empty()) return family;
    problems.add("{}: for {}, {}", checkpoint.folder(),
                 family == HuggingFaceFamily::kBert && config.bidirectional
                     ? bert_architecture_of(config)
                     : name_of(family).architecture,
                 fmt::join(misfits, "; "));
  }
  problems.raise_if_any();
  throw std::logic_error("no family to choose from");
}

WrittenHuggingFace write_hugging_face(const Checkpoint& checkpoint, const std::string& save,
                                      const HuggingFaceWriteOptions& options) {
  Stopwatch watch;
  OutputFolder::check(save);
  const HuggingFaceFamily family = choose_family(checkpoint, options.family);
  const ModelConfig config = exported_model(checkpoint, family, options.architecture);
  const Json original = original_config(checkpoint);
  OutputFolder folder(save);
  const std::string temporary = folder.temporary_path();
  write_weights(checkpoint, family, config, temporary, options.max_shard_bytes);
  const auto json =
      hugging_face_config_json(family, config, torch_name(weights_dtype(checkpoint)), original);
  write_text_file((fs::path(temporary) / kHuggingFaceConfig).string(), json.dump(2) + "\n");
  WrittenHuggingFace written{family,
                             family == HuggingFaceFamily::kBert ? bert_architecture_of(config)
                                                                : name_of(family).architecture,
                             config.num_parameters(config.vocab_size),
                             {.written_s = watch.lap()}};
  check_folder(checkpoint, config, temporary);
  folder.commit();
  written.times.verified_s = watch.lap();
  return written;
}

}  // namespace megalith

#include "megalith/checkpoint/upstream_layout.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "megalith/checkpoint/safetensors.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

using Cut = UpstreamTensor::Cut;
using Parts = std::shared_ptr<const std::vector<UpstreamPart>>;

/// Which dim the ranks share, or -1.
int64_t cut_dim(Cut cut) {
  if (cut == Cut::kNone) return -1;
  return cut == Cut::kColumns ? 1 : 0;
}

void add_layer(const ModelConfig& config, int64_t layer, std::vector<UpstreamTensor>& list) {
  const std::string scope = fmt::format("decoder.layers.{}.", layer);
  const int64_t h = config.hidden_size, f = config.ffn_hidden_size(), d = config.head_size();
  const int64_t attended = config.num_attention_heads * d;
  const int64_t qkv = attended + 2 * config.num_query_groups() * d;
  const bool has_bias = !config.disable_bias_linear;
  const Cut first = config.swiglu ? Cut::kGateUp : Cut::kRows;
  const int64_t first_rows = config.swiglu ? 2 * f : f;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape, Cut cut) {
    list.push_back({scope + name, std::move(shape), cut});
  };
  const auto add_norm = [&](const std::string& name) {
    add(name + ".weight", {h}, Cut::kNone);
    if (config.normalization == Normalization::kLayerNorm) add(name + ".bias", {h}, Cut::kNone);
  };
  add_norm("input_layernorm");
  add("self_attention.linear_qkv.weight", {qkv, h}, Cut::kQueryKeyValue);
  if (config.qkv_bias()) add("self_attention.linear_qkv.bias", {qkv}, Cut::kQueryKeyValue);
  add("self_attention.linear_proj.weight", {h, attended}, Cut::kColumns);
  if (has_bias) add("self_attention.linear_proj.bias", {h}, Cut::kNone);
  add_norm("pre_mlp_layernorm");
  add("mlp.linear_fc1.weight", {first_rows, h}, first);
  if (has_bias) add("mlp.linear_fc1.bias", {first_rows}, first);
  add("mlp.linear_fc2.weight", {h, f}, Cut::kColumns);
  if (has_bias) add("mlp.linear_fc2.bias", {h}, Cut::kNone);
}

/// Rows [..., "query"], "key" or "value" of one rank's fused rows.
at::Tensor own_rows(const at::Tensor& fused, int64_t which, const ModelConfig& config,
                    double version, int64_t tensor_size) {
  const int64_t d = config.head_size();
  const int64_t groups = config.num_query_groups() / tensor_size;
  const int64_t queries = config.num_attention_heads / config.num_query_groups();
  const auto view = [&](std::vector<int64_t> dims) {
    const auto rest = fused.sizes().slice(1);
    dims.insert(dims.end(), rest.begin(), rest.end());
    return fused.reshape(dims);
  };
  if (version == 0) return view({3, groups * d}).select(0, which);
  if (version == 1) return view({groups * d, 3}).select(1, which);
  const int64_t first = which == 0 ? 0 : queries + which - 1;
  const int64_t count = which == 0 ? queries : 1;
  return view({groups, queries + 2, d}).narrow(1, first, count).flatten(0, 2);
}

/// What `pick` makes of every part, side by side; of a weight that all ranks hold (dim -1), the
/// first rank's.
template <class Pick>
at::Tensor join(const Parts& parts, int64_t dim, const Pick& pick) {
  const auto read = [&](const UpstreamPart& part) { return pick(part.file->tensor(part.tensor)); };
  if (parts->size() == 1 || dim < 0) return read(parts->front());
  std::vector<at::Tensor> pieces;
  for (const auto& part : *parts) pieces.push_back(read(part));
  return at::cat(pieces, dim);
}

std::string replaced(std::string name, const std::string& from, const std::string& to) {
  return name.replace(name.find(from), from.size(), to);
}

std::vector<SourceTensor> assemble_qkv(const UpstreamTensor& spec, const Parts& parts,
                                       const ModelConfig& config, double version) {
  const at::ScalarType dtype = parts->front().tensor.dtype;
  const auto tensor_size = static_cast<int64_t>(parts->size());
  const int64_t key_rows = config.num_query_groups() * config.head_size();
  const char* const kNames[] = {"query", "key", "value"};
  std::vector<SourceTensor> tensors;
  for (int64_t which = 0; which < 3; ++which) {
    std::vector<int64_t> shape = spec.shape;
    shape[0] = which == 0 ? config.num_attention_heads * config.head_size() : key_rows;
    tensors.push_back(
        {replaced(spec.name, "linear_qkv", kNames[which]), dtype, std::move(shape), [=] {
           return join(parts, 0, [&](const at::Tensor& part) {
             return own_rows(part, which, config, version, tensor_size);
           });
         }});
  }
  return tensors;
}

/// Each rank holds its rows of the gate, then its rows of what is gated.
std::vector<SourceTensor> assemble_gate_up(const UpstreamTensor& spec, const Parts& parts) {
  std::vector<SourceTensor> tensors;
  for (const int64_t which : {0, 1}) {
    std::vector<int64_t> shape = spec.shape;
    shape[0] /= 2;
    tensors.push_back({replaced(spec.name, "linear_fc1", which == 0 ? "gate" : "up"),
                       parts->front().tensor.dtype, std::move(shape), [=] {
                         return join(parts, 0, [&](const at::Tensor& part) {
                           return part.chunk(2, 0)[static_cast<size_t>(which)];
                         });
                       }});
  }
  return tensors;
}

void add_heads(const ModelConfig& config, int64_t vocab_rows, std::vector<UpstreamTensor>& list) {
  const int64_t h = config.hidden_size;
  const auto add_linear = [&](bool has, const std::string& name, int64_t outputs) {
    if (!has) return;
    list.push_back({name + ".weight", {outputs, h}, Cut::kNone});
    list.push_back({name + ".bias", {outputs}, Cut::kNone});
  };
  add_linear(config.lm_head_transform, "lm_head.dense", h);
  if (config.lm_head_transform) {
    list.push_back({"lm_head.bias", {vocab_rows}, Cut::kRows});
    list.push_back({"lm_head.layernorm.weight", {h}, Cut::kNone});
    if (config.normalization == Normalization::kLayerNorm) {
      list.push_back({"lm_head.layernorm.bias", {h}, Cut::kNone});
    }
  }
  add_linear(config.has_pooler(), "pooler.dense", h);
  add_linear(config.binary_head, "binary_head", 2);
  add_linear(config.num_classes > 0, "classification_head", config.num_classes);
  add_linear(config.multichoice_head, "multichoice_head", 1);
}

/// With the layers' names as in the spec.
std::vector<SourceTensor> assemble_decoder(const UpstreamTensor& spec,
                                           std::vector<UpstreamPart> list,
                                           const ModelConfig& config, double version) {
  const auto parts = std::make_shared<const std::vector<UpstreamPart>>(std::move(list));
  if (spec.cut == Cut::kQueryKeyValue) return assemble_qkv(spec, parts, config, version);
  if (spec.cut == Cut::kGateUp) return assemble_gate_up(spec, parts);
  const bool is_vocabulary = spec.name == "embedding.word_embeddings.weight" ||
                             spec.name == "output_layer.weight" || spec.name == "lm_head.bias";
  std::vector<int64_t> shape = spec.shape;
  if (is_vocabulary) shape[0] = config.vocab_size;
  const int64_t dim = cut_dim(spec.cut), rows = shape[0];
  return {{spec.name, parts->front().tensor.dtype, shape, [=] {
             const auto whole = join(parts, dim, [](const at::Tensor& part) { return part; });
             return whole.narrow(0, 0, rows);
           }}};
}

}  // namespace

std::vector<UpstreamTensor> upstream_tensors(const ModelConfig& config, int64_t vocab_rows) {
  const int64_t h = config.hidden_size;
  std::vector<UpstreamTensor> list;
  list.push_back({"embedding.word_embeddings.weight", {vocab_rows, h}, Cut::kRows});
  if (config.position_embedding == PositionEmbedding::kLearnedAbsolute) {
    list.push_back(
        {"embedding.position_embeddings.weight", {config.max_position_embeddings, h}, Cut::kNone});
  }
  if (config.num_token_types > 0) {
    list.push_back(
        {"embedding.tokentype_embeddings.weight", {config.num_token_types, h}, Cut::kNone});
  }
  for (int64_t layer = 0; layer < config.num_layers; ++layer) add_layer(config, layer, list);
  list.push_back({"decoder.final_layernorm.weight", {h}, Cut::kNone});
  if (config.normalization == Normalization::kLayerNorm) {
    list.push_back({"decoder.final_layernorm.bias", {h}, Cut::kNone});
  }
  if (config.untie_embeddings_and_output_weights) {
    list.push_back({"output_layer.weight", {vocab_rows, h}, Cut::kRows});
  }
  add_heads(config, vocab_rows, list);
  return list;
}

std::optional<std::string> part_mistake(const UpstreamTensor& spec,
                                        const std::vector<UpstreamPart>& parts) {
  const auto tensor_size = static_cast<int64_t>(parts.size());
  const int64_t dim = cut_dim(spec.cut);
  std::vector<int64_t> wanted = spec.shape;
  if (dim >= 0) {
    auto& size = wanted[static_cast<size_t>(dim)];
    if (size % tensor_size != 0) {
      return fmt::format("{} rows or columns cannot be shared by {} ranks", size, tensor_size);
    }
    size /= tensor_size;
  }
  for (size_t rank = 0; rank < parts.size(); ++rank) {
    const auto& tensor = parts[rank].tensor;
    if (tensor.shape != wanted) {
      return fmt::format("on tensor rank {} it has shape [{}], expected [{}]", rank,
                         fmt::join(tensor.shape, ", "), fmt::join(wanted, ", "));
    }
    if (!c10::isFloatingType(tensor.dtype)) {
      return fmt::format("on tensor rank {} it is of type {}; weights are floating-point numbers",
                         rank, safetensors_dtype_name(tensor.dtype));
    }
    if (tensor.dtype != parts.front().tensor.dtype) {
      return fmt::format("it is {} on tensor rank 0 and {} on tensor rank {}",
                         safetensors_dtype_name(parts.front().tensor.dtype),
                         safetensors_dtype_name(tensor.dtype), rank);
    }
    if (const auto mistake = parts[rank].file->mistake(tensor)) {
      return fmt::format("on tensor rank {}: {}", rank, *mistake);
    }
  }
  return std::nullopt;
}

std::vector<SourceTensor> assemble(const UpstreamTensor& spec, std::vector<UpstreamPart> list,
                                   const ModelConfig& config, double version) {
  auto tensors = assemble_decoder(spec, std::move(list), config, version);
  constexpr std::string_view kStack = "decoder.";
  for (auto& tensor : tensors) {
    if (!config.bidirectional || !tensor.name.starts_with(kStack)) continue;
    tensor.name = "encoder." + tensor.name.substr(kStack.size());
  }
  return tensors;
}

}  // namespace megalith

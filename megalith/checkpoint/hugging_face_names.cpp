#include "megalith/checkpoint/hugging_face_names.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "megalith/checkpoint/hugging_face_bert.hpp"
#include "megalith/ops/transpose.hpp"

namespace megalith {
namespace {

using Shape = std::vector<int64_t>;

/// Collects the table for one model.
class Table {
 public:
  Table(HuggingFaceFamily family, const ModelConfig& config)
      : prefix_(name_of(family).prefix), config_(config) {}

  void add(const std::string& theirs, const std::string& ours, Shape shape) {
    tensors_.push_back({prefix_ + theirs, false, {{ours, std::move(shape)}}});
  }
  void add_norm(const std::string& theirs, const std::string& ours, int64_t size) {
    add(theirs + ".weight", ours + ".weight", {size});
    if (config_.normalization == Normalization::kLayerNorm) {
      add(theirs + ".bias", ours + ".bias", {size});
    }
  }
  /// A linear layer of several of ours with the same input.
  void add_linear(const std::string& theirs,
                  const std::vector<std::pair<std::string, int64_t>>& ours, int64_t inputs,
                  bool bias, bool transposed) {
    HuggingFaceTensor weight{prefix_ + theirs + ".weight", transposed, {}};
    HuggingFaceTensor biases{prefix_ + theirs + ".bias", false, {}};
    for (const auto& [name, outputs] : ours) {
      weight.parts.push_back({name + ".weight", {outputs, inputs}});
      biases.parts.push_back({name + ".bias", {outputs}});
    }
    tensors_.push_back(std::move(weight));
    if (bias) tensors_.push_back(std::move(biases));
  }
  void add_output_layer() {
    if (!config_.untie_embeddings_and_output_weights) return;
    tensors_.push_back({"lm_head.weight",
                        false,
                        {{"output_layer.weight", {config_.vocab_size, config_.hidden_size}}}});
  }
  std::vector<HuggingFaceTensor> take() { return std::move(tensors_); }

 private:
  std::string prefix_;
  const ModelConfig& config_;
  std::vector<HuggingFaceTensor> tensors_;
};

void add_gpt2(Table& table, const ModelConfig& config) {
  const int64_t hidden = config.hidden_size, wide = config.ffn_hidden_size();
  const bool bias = !config.disable_bias_linear;
  table.add("wte.weight", "embedding.word_embeddings.weight", {config.vocab_size, hidden});
  table.add("wpe.weight", "embedding.position_embeddings.weight",
            {config.max_position_embeddings, hidden});
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const auto theirs = fmt::format("h.{}.", layer);
    const auto ours = fmt::format("decoder.layers.{}.", layer);
    const auto attention = ours + "self_attention.";
    table.add_norm(theirs + "ln_1", ours + "input_layernorm", hidden);
    table.add_linear(
        theirs + "attn.c_attn",
        {{attention + "query", hidden}, {attention + "key", hidden}, {attention + "value", hidden}},
        hidden, bias, true);
    table.add_linear(theirs + "attn.c_proj", {{attention + "linear_proj", hidden}}, hidden, bias,
                     true);
    table.add_norm(theirs + "ln_2", ours + "pre_mlp_layernorm", hidden);
    table.add_linear(theirs + "mlp.c_fc", {{ours + "mlp.linear_fc1", wide}}, hidden, bias, true);
    table.add_linear(theirs + "mlp.c_proj", {{ours + "mlp.linear_fc2", hidden}}, wide, bias, true);
  }
  table.add_norm("ln_f", "decoder.final_layernorm", hidden);
}

void add_llama_like(Table& table, const ModelConfig& config) {
  const int64_t hidden = config.hidden_size, wide = config.ffn_hidden_size();
  const int64_t head = config.head_size(), query = config.num_attention_heads * head;
  const int64_t key = config.num_query_groups() * head;
  const bool mlp_bias = !config.disable_bias_linear;
  table.add("embed_tokens.weight", "embedding.word_embeddings.weight", {config.vocab_size, hidden});
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const auto theirs = fmt::format("layers.{}.", layer);
    const auto ours = fmt::format("decoder.layers.{}.", layer);
    const auto linear = [&](const std::string& name, const std::string& our, int64_t outputs,
                            int64_t inputs, bool bias) {
      table.add_linear(theirs + name, {{ours + our, outputs}}, inputs, bias, false);
    };
    table.add_norm(theirs + "input_layernorm", ours + "input_layernorm", hidden);
    linear("self_attn.q_proj", "self_attention.query", query, hidden, config.qkv_bias());
    linear("self_attn.k_proj", "self_attention.key", key, hidden, config.qkv_bias());
    linear("self_attn.v_proj", "self_attention.value", key, hidden, config.qkv_bias());
    if (config.qk_layernorm) {
      table.add_norm(theirs + "self_attn.q_norm", ours + "self_attention.q_layernorm", head);
      table.add_norm(theirs + "self_attn.k_norm", ours + "self_attention.k_layernorm", head);
    }
    linear("self_attn.o_proj", "self_attention.linear_proj", hidden, query, config.proj_bias());
    table.add_norm(theirs + "post_attention_layernorm", ours + "pre_mlp_layernorm", hidden);
    linear("mlp.gate_proj", "mlp.gate", wide, hidden, mlp_bias);
    linear("mlp.up_proj", "mlp.up", wide, hidden, mlp_bias);
    linear("mlp.down_proj", "mlp.linear_fc2", hidden, wide, mlp_bias);
  }
  table.add_norm("norm", "decoder.final_layernorm", hidden);
}

}  // namespace

const std::vector<HuggingFaceFamilyName>& hugging_face_families() {
  using Family = HuggingFaceFamily;
  static const std::vector<HuggingFaceFamilyName> families{
      {Family::kGpt2, "gpt2", "GPT2LMHeadModel", "GPT2Model", "transformer."},
      {Family::kLlama, "llama", "LlamaForCausalLM", "LlamaModel", "model."},
      {Family::kMistral, "mistral", "MistralForCausalLM", "MistralModel", "model."},
      {Family::kQwen2, "qwen2", "Qwen2ForCausalLM", "Qwen2Model", "model."},
      {Family::kQwen3, "qwen3", "Qwen3ForCausalLM", "Qwen3Model", "model."},
      {Family::kBert, "bert", "BertForPreTraining", "BertModel", "bert."}};
  return families;
}

const HuggingFaceFamilyName& name_of(HuggingFaceFamily family) {
  return hugging_face_families()[static_cast<size_t>(family)];
}

std::vector<int64_t> HuggingFaceTensor::shape() const {
  Shape shape = parts.front().shape;
  for (size_t i = 1; i < parts.size(); ++i) shape[0] += parts[i].shape[0];
  if (transposed) std::swap(shape[0], shape[1]);
  return shape;
}

at::Tensor HuggingFaceTensor::part_of(const at::Tensor& theirs, size_t index) const {
  int64_t row = 0;
  for (size_t i = 0; i < index; ++i) row += parts[i].shape[0];
  return (transposed ? theirs.t() : theirs).narrow(0, row, parts[index].shape[0]);
}

at::Tensor HuggingFaceTensor::join(
    const std::function<at::Tensor(const std::string&)>& read) const {
  if (parts.size() == 1 && !transposed) return read(parts.front().name);
  at::Tensor joined;
  for (size_t i = 0; i < parts.size(); ++i) {
    const at::Tensor value = read(parts[i].name);
    if (!joined.defined()) joined = at::empty(shape(), value.options());
    ops::copy_into(part_of(joined, i), value);
  }
  return joined;
}

std::vector<HuggingFaceTensor> hugging_face_tensors(HuggingFaceFamily family,
                                                    const ModelConfig& config) {
  if (family == HuggingFaceFamily::kBert) return bert_tensors(config);
  Table table(family, config);
  if (family == HuggingFaceFamily::kGpt2) {
    add_gpt2(table, config);
  } else {
    add_llama_like(table, config);
  }
  table.add_output_layer();
  return table.take();
}

bool is_hugging_face_buffer(const std::string& name) {
  const auto ends = {".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq", "position_ids"};
  return std::any_of(ends.begin(), ends.end(),
                     [&](const char* end) { return name.ends_with(end); });
}

}  // namespace megalith

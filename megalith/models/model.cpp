#include "megalith/models/model.hpp"

#include "megalith/models/bert.hpp"
#include "megalith/models/gpt.hpp"

namespace megalith {
namespace {

/// 2 a multiply-add, three times: forward, input and weight gradients.
constexpr double kFlopsPerWeight = 6.0;

}  // namespace

Model::Model(const ModelConfig& config, const ProcessGroups& groups, at::ScalarType dtype,
             at::Device device)
    : config_(config), tensor_(groups.tensor()), dtype_(dtype), device_(device) {}

ParameterBuilder Model::builder(std::optional<int64_t> seed) {
  return {parameters_, dtype_, device_, seed, tensor_.rank, tensor_.size()};
}

std::unique_ptr<Model> make_model(const ModelConfig& config, const ProcessGroups& groups,
                                  at::ScalarType dtype, at::Device device,
                                  std::optional<int64_t> seed) {
  if (config.bidirectional) {
    return std::make_unique<BertModel>(config, groups, dtype, device, seed);
  }
  return std::make_unique<GptModel>(config, groups, dtype, device, seed);
}

double layer_flops(const ModelConfig& config, int64_t seq_length) {
  const double h = static_cast<double>(config.hidden_size);
  const double head = static_cast<double>(config.head_size());
  const double query = static_cast<double>(config.num_attention_heads) * head;
  const double key_value = static_cast<double>(config.num_query_groups()) * head;
  const double mlp =
      (config.swiglu ? 3.0 : 2.0) * static_cast<double>(config.ffn_hidden_size()) * h;
  const double layer =
      h * (query + 2 * key_value) + query * h + mlp + 2 * static_cast<double>(seq_length) * query;
  return kFlopsPerWeight * static_cast<double>(config.num_layers) * layer;
}

double logits_flops(const ModelConfig& config, int64_t tensor_size) {
  return kFlopsPerWeight * static_cast<double>(config.hidden_size) *
         static_cast<double>(config.padded_vocab_size(tensor_size));
}

}  // namespace megalith

#include "models/tiny_gpt.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "megalith/parallel/collectives.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

constexpr int64_t kBatch = 4, kSequence = 9;

at::Tensor mean_loss(const at::Tensor& token_losses, const at::Tensor& mask, double total) {
  return (token_losses * mask.t()).sum() / total;
}

Traffic difference(const Traffic& after, const Traffic& before) {
  Traffic result;
  for (const auto& [name, entry] : after.entries) {
    Traffic::Entry rest = entry;
    if (const auto old = before.entries.find(name); old != before.entries.end()) {
      rest.calls -= old->second.calls;
      rest.bytes -= old->second.bytes;
    }
    if (rest.calls > 0) result.entries[name] = rest;
  }
  return result;
}

}  // namespace

void sum_gradients(ParameterList& parameters, const ProcessGroups& groups) {
  for (auto& parameter : parameters) {
    at::Tensor& gradient = parameter.value.mutable_grad();
    if (!gradient.defined()) gradient = at::zeros_like(parameter.value);
    gradient = gradient.contiguous();
    all_reduce(gradient, groups.data());
    if (parameter.partial_over_tensor) all_reduce(gradient, groups.tensor());
  }
}

ModelConfig tiny_gpt2() {
  ModelConfig config;
  config.num_layers = 2;
  config.hidden_size = 16;
  config.num_attention_heads = 8;
  config.max_position_embeddings = 12;
  config.openai_gelu = true;
  config.hidden_dropout = config.attention_dropout = 0;
  config.vocab_size = 45;
  config.make_vocab_size_divisible_by = 8;
  return config;
}

std::vector<std::pair<std::string, ModelConfig>> tiny_variants() {
  std::vector<std::pair<std::string, ModelConfig>> variants{{"gpt2", tiny_gpt2()}};
  const auto vary = [&](const char* name) -> ModelConfig& {
    return variants.emplace_back(name, tiny_gpt2()).second;
  };
  vary("erf_gelu").openai_gelu = false;
  vary("untied").untie_embeddings_and_output_weights = true;
  vary("no_biases").disable_bias_linear = true;
  auto& qkv_bias = vary("qkv_bias_alone");
  qkv_bias.disable_bias_linear = qkv_bias.add_qkv_bias = true;
  vary("rms_norm").normalization = Normalization::kRmsNorm;
  auto& squared = vary("squared_relu");
  squared.squared_relu = true;
  squared.openai_gelu = false;
  auto& swiglu = vary("swiglu");
  swiglu.swiglu = true;
  swiglu.openai_gelu = false;
  swiglu.ffn_hidden_size_flag = 24;
  auto& rotary = vary("rotary");
  rotary.position_embedding = PositionEmbedding::kRope;
  rotary.kv_channels_flag = 4;
  auto& half_rotary = vary("half_rotary");
  half_rotary.position_embedding = PositionEmbedding::kRope;
  half_rotary.kv_channels_flag = 4;
  half_rotary.rotary_percent = 0.5;
  vary("no_positions").position_embedding = PositionEmbedding::kNone;
  auto& grouped = vary("grouped_queries");
  grouped.group_query_attention = true;
  grouped.num_query_groups_flag = 4;
  auto& llama = vary("llama_like");
  llama.normalization = Normalization::kRmsNorm;
  llama.position_embedding = PositionEmbedding::kRope;
  llama.swiglu = llama.disable_bias_linear = llama.untie_embeddings_and_output_weights = true;
  llama.openai_gelu = false;
  llama.group_query_attention = true;
  llama.num_query_groups_flag = 4;
  llama.ffn_hidden_size_flag = 20;
  const ModelConfig llama_like = llama;  // the vector moves
  auto& proj_bias = vary("proj_bias");
  proj_bias.disable_bias_linear = proj_bias.add_proj_bias = true;
  vary("head_norms").qk_layernorm = true;
  auto& yarn = variants.emplace_back("yarn", llama_like).second;
  yarn.kv_channels_flag = 4;
  yarn.rope_scaling.type = RopeScalingType::kYarn;
  yarn.rope_scaling.factor_flag = 4;
  yarn.rope_scaling.original_positions_flag = 8;
  ModelConfig qwen = llama_like;
  qwen.qk_layernorm = true;
  qwen.kv_channels_flag = 4;
  variants.emplace_back("qwen3_like", qwen);
  return variants;
}

TinyBatch tiny_batch(const ModelConfig& config) {
  TinyBatch batch;
  batch.tokens = integers({kBatch, kSequence}, config.vocab_size, 1);
  batch.labels = integers({kBatch, kSequence}, config.vocab_size, 2);
  batch.position_ids = at::arange(kSequence).expand({kBatch, kSequence}).contiguous();
  batch.loss_mask = integers({kBatch, kSequence}, 4, 3).gt(0).to(at::kDouble);
  return batch;
}

TinyBatch tiny_batch_of_documents(const ModelConfig& config) {
  TinyBatch batch = tiny_batch(config);
  batch.segments = at::zeros({kBatch, kSequence}, at::kLong);
  for (int64_t row = 0; row < kBatch; ++row) {
    const int64_t cut = 2 + row;
    batch.segments[row].narrow(0, cut, kSequence - cut).fill_(1);
    batch.position_ids[row].narrow(0, cut, kSequence - cut).sub_(cut);
  }
  return batch;
}

TinyBatch share_of(const TinyBatch& batch, const Group& data) {
  const int64_t rows = kBatch / data.size();
  const auto cut = [&](const at::Tensor& x) {
    return x.defined() ? x.narrow(0, data.rank * rows, rows) : x;
  };
  return {cut(batch.tokens), cut(batch.labels), cut(batch.position_ids), cut(batch.loss_mask),
          cut(batch.segments)};
}

TinyBatch moved(TinyBatch batch, at::Device device) {
  for (auto* x :
       {&batch.tokens, &batch.labels, &batch.position_ids, &batch.loss_mask, &batch.segments}) {
    if (x->defined()) *x = x->to(device);
  }
  return batch;
}

StepResult run_step(const ModelConfig& config, const Layout& layout, const TinyBatch& batch,
                    const StepOptions& options) {
  StepResult result;
  result.forward_traffic.resize(layout.world_size());
  result.backward_traffic.resize(layout.world_size());
  GlobalTensors gradients;
  const TensorMap globals =
      random_globals(GptModel(config, ProcessGroups(), options.dtype, at::kCPU, 1).parameters(),
                     options.weight_scale);
  const double total = batch.loss_mask.sum().item<double>();
  const auto body = [&](RankContext& ctx) {
    const auto& groups = ctx.groups();
    GptModel model(config, groups, options.dtype, options.device, 1);
    load_slices(model.parameters(), globals);
    const TinyBatch mine = moved(share_of(batch, groups.data()), options.device);
    LayerContext context;
    context.training = options.training;
    context.key = {.seed = 5, .data_rank = groups.data().rank, .tensor_rank = groups.tensor().rank};
    const at::Tensor token_losses = model.token_losses(
        {mine.tokens, mine.position_ids, mine.segments}, mine.labels, context, options.recompute);
    at::Tensor loss = mean_loss(token_losses, mine.loss_mask, total);
    const Traffic forward = *groups.traffic();
    loss.backward();
    result.forward_traffic[ctx.rank()] = forward;
    result.backward_traffic[ctx.rank()] = difference(*groups.traffic(), forward);
    sum_gradients(model.parameters(), groups);
    gradients.add_gradients(model.parameters());
    at::Tensor whole_loss = loss.detach().clone();
    all_reduce(whole_loss, groups.data());
    const at::Tensor parts = all_gather(token_losses.detach(), groups.data());  // [d, S, B/d]
    if (ctx.rank() == 0) {
      result.loss = whole_loss.to(at::kCPU);
      result.token_losses = parts.transpose(0, 1).reshape({parts.size(1), -1}).to(at::kCPU);
    }
  };
  if (options.over_gloo) {
    run_gloo_ranks(layout, body);
  } else {
    run_ranks(layout, body);
  }
  result.gradients = gradients.take();
  return result;
}

}  // namespace megalith::testing

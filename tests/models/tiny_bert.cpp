#include "models/tiny_bert.hpp"

#include <ATen/ATen.h>

#include "megalith/parallel/collectives.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

constexpr int64_t kBertBatch = 4, kPlaces = 9;
constexpr int64_t kLengths[kBertBatch] = {9, 5, 7, 4};

at::Tensor places_of(const at::Tensor& loss_mask) {
  return loss_mask.reshape({-1}).nonzero().squeeze(-1);
}

}  // namespace

ModelConfig tiny_bert() {
  ModelConfig config = tiny_gpt2();
  config.openai_gelu = false;
  config.become_bert(/*with_binary_head=*/true);
  return config;
}

std::vector<std::pair<std::string, ModelConfig>> tiny_bert_variants() {
  std::vector<std::pair<std::string, ModelConfig>> variants{{"bert", tiny_bert()}};
  const auto vary = [&](const char* name) -> ModelConfig& {
    return variants.emplace_back(name, tiny_bert()).second;
  };
  vary("original norm order").residual_post_layernorm = true;
  vary("no binary head").binary_head = false;
  vary("tanh GeLU").openai_gelu = true;
  vary("RMSNorm").normalization = Normalization::kRmsNorm;
  auto& rotary = vary("rotary, grouped queries");
  rotary.position_embedding = PositionEmbedding::kRope;
  rotary.group_query_attention = true;
  rotary.num_query_groups_flag = 4;
  return variants;
}

TinyBertBatch tiny_bert_batch() {
  TinyBertBatch batch;
  batch.input.tokens = integers({kBertBatch, kPlaces}, 45, 1);
  batch.input.position_ids = at::arange(kPlaces).expand({kBertBatch, kPlaces}).contiguous();
  batch.input.token_types = at::zeros({kBertBatch, kPlaces}, at::kLong);
  batch.input.padding_mask = at::zeros({kBertBatch, kPlaces}, at::kBool);
  batch.targets.labels = at::full({kBertBatch, kPlaces}, -1, at::kLong);
  const at::Tensor labels = integers({kBertBatch, kPlaces}, 45, 2);
  for (int64_t row = 0; row < kBertBatch; ++row) {
    const int64_t length = kLengths[row], half = length / 2;
    batch.input.padding_mask[row].narrow(0, 0, length).fill_(true);
    batch.input.token_types[row].narrow(0, half, length - half).fill_(1);
    for (int64_t place = 1 + row % 2; place < length; place += 3) {
      batch.targets.labels[row][place] = labels[row][place];
    }
  }
  batch.targets.loss_mask = batch.targets.labels.ge(0).t().to(at::kDouble).contiguous();
  batch.targets.predicted = places_of(batch.targets.loss_mask);
  batch.targets.is_random = at::tensor({0, 1, 1, 0}, at::kLong);
  return batch;
}

TinyBertBatch share_of(const TinyBertBatch& batch, const Group& data) {
  const int64_t rows = kBertBatch / data.size();
  const auto cut = [&](const at::Tensor& x, int64_t dim = 0) {
    return x.narrow(dim, data.rank * rows, rows).contiguous();
  };
  TinyBertBatch share;
  share.input.tokens = cut(batch.input.tokens);
  share.input.position_ids = cut(batch.input.position_ids);
  share.input.token_types = cut(batch.input.token_types);
  share.input.padding_mask = cut(batch.input.padding_mask);
  share.targets.labels = cut(batch.targets.labels);
  share.targets.loss_mask = cut(batch.targets.loss_mask, 1);
  share.targets.is_random = cut(batch.targets.is_random);
  if (batch.targets.predicted.defined()) {
    share.targets.predicted = places_of(share.targets.loss_mask);
  }
  return share;
}

BertStepResult run_bert_step(const ModelConfig& config, const Layout& layout,
                             const TinyBertBatch& batch, const StepOptions& options) {
  BertStepResult result;
  GlobalTensors gradients;
  const TensorMap globals =
      random_globals(BertModel(config, ProcessGroups(), options.dtype, at::kCPU, 1).parameters(),
                     options.weight_scale);
  const double counts[] = {batch.targets.loss_mask.sum().item<double>(), double(kBertBatch)};
  const auto body = [&](RankContext& ctx) {
    const auto& groups = ctx.groups();
    BertModel model(config, groups, options.dtype, at::kCPU, 1);
    load_slices(model.parameters(), globals);
    const TinyBertBatch mine = share_of(batch, groups.data());
    LayerContext context;
    context.training = options.training;
    context.key = {.seed = 5, .data_rank = groups.data().rank, .tensor_rank = groups.tensor().rank};
    const auto parts = model.losses(mine.input, mine.targets, context, options.recompute);
    EXPECT_EQ(parts.size(), model.loss_names().size());
    at::Tensor loss;
    std::vector<at::Tensor> means;
    for (size_t i = 0; i < parts.size(); ++i) {
      const at::Tensor mean = parts[i].sum / counts[i];
      loss = loss.defined() ? loss + mean : mean;
      means.push_back(mean.detach().clone());
    }
    loss.backward();
    sum_gradients(model.parameters(), groups);
    gradients.add_gradients(model.parameters());
    for (auto& mean : means) all_reduce(mean, groups.data());
    if (ctx.rank() == 0) result.losses = means;
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

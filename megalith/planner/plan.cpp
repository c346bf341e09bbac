#include "megalith/planner/plan.hpp"

#include <algorithm>

namespace megalith {
namespace {

/// A started process with LibTorch, before any tensor (measured: 118 MB and what the first kernels
/// load).
constexpr double kProcessBytes = 230e6;

/// A slice of a weight gradient before it is added, and the operands turned for it.
constexpr double kSliceBytes = 20e6;

/// Bytes a layer keeps for backward, or needs while it runs.
double layer_activation_bytes(const PlanRequest& r) {
  const auto& m = r.model;
  const double c = static_cast<double>(r.compute_bytes), t = static_cast<double>(r.layout.tensor);
  const double tokens = static_cast<double>(r.tokens());
  const double h = static_cast<double>(m.hidden_size);
  const double query = static_cast<double>(m.num_attention_heads * m.head_size());
  const double key = static_cast<double>(m.num_query_groups() * m.head_size());
  const double ffn = static_cast<double>(m.ffn_hidden_size()) * (m.swiglu ? 4.0 : 2.0);
  double numbers = 4 * h + (query + 2 * key + 2 * query + ffn) / t;  // inputs of norms and products
  if (m.hidden_dropout > 0 && r.keeps_masks) numbers += 2 * h;
  if (m.qk_layernorm) numbers += (query + key) / t;  // inputs of the norms of heads
  double bytes = tokens * numbers * c;
  if (m.attention_dropout > 0 && r.keeps_masks &&
      r.recompute != PlanRequest::Recompute::kSelective) {
    const double scores =
        static_cast<double>(m.num_attention_heads) / t * static_cast<double>(r.seq_length) * tokens;
    bytes += scores * (4 + 2 * c);  // softmax, mask, product
  }
  return bytes;
}

/// What the widest part of a backward pass needs beside what forward kept: the MLP's gradients.
double working_bytes(const PlanRequest& r) {
  const auto& m = r.model;
  const double tokens = static_cast<double>(r.tokens());
  const double wide = static_cast<double>(m.ffn_hidden_size()) * (m.swiglu ? 4.0 : 2.0) /
                      static_cast<double>(r.layout.tensor);
  return tokens * (wide + 4 * static_cast<double>(m.hidden_size)) *
             static_cast<double>(r.compute_bytes) +
         kSliceBytes;
}

/// The logits, whose gradient takes their place, and what copies of them an operator makes.
double logits_bytes(const PlanRequest& r) {
  const double columns =
      static_cast<double>(r.model.padded_vocab_size(r.layout.tensor) / r.layout.tensor);
  const double logits = static_cast<double>(r.tokens()) * r.predicted_share * columns;
  double bytes = logits * static_cast<double>(r.compute_bytes);
  if (r.keeps_masks) bytes += logits * 4;
  if (r.widens_products) {
    bytes += logits * 4 + 2 * columns * static_cast<double>(r.model.hidden_size) * 4;
  }
  return bytes;
}

double activation_bytes(const PlanRequest& r) {
  const double layer = layer_activation_bytes(r);
  const double layers = static_cast<double>(r.model.num_layers);
  const double input = static_cast<double>(r.tokens() * r.model.hidden_size * r.compute_bytes);
  switch (r.recompute) {
    case PlanRequest::Recompute::kNone:
    case PlanRequest::Recompute::kSelective:
      return layers * layer;
    case PlanRequest::Recompute::kUniform: {
      const double chunk = std::min(layers, static_cast<double>(r.recompute_layers));
      return layers / chunk * input + chunk * layer;
    }
    case PlanRequest::Recompute::kBlock: {
      const double covered = std::min(layers, static_cast<double>(r.recompute_layers));
      return covered * input + (layers - covered) * layer + (covered > 0 ? layer : 0);
    }
  }
  return 0;
}

int64_t rank_parameters(const PlanRequest& r) {
  // All but norms, row biases, learned positions and types, and what heads have of their own is
  // split.
  const auto& m = r.model;
  const int64_t norm_tensors = m.normalization == Normalization::kLayerNorm ? 2 : 1;
  const int64_t norm = norm_tensors * m.hidden_size;
  int64_t whole = norm + m.num_layers * 2 * norm;
  if (m.proj_bias()) whole += m.num_layers * m.hidden_size;
  if (!m.disable_bias_linear) whole += m.num_layers * m.hidden_size;
  if (m.qk_layernorm) whole += m.num_layers * 2 * norm_tensors * m.head_size();
  if (m.position_embedding == PositionEmbedding::kLearnedAbsolute) {
    whole += m.max_position_embeddings * m.hidden_size;
  }
  whole += m.num_token_types * m.hidden_size;
  if (m.lm_head_transform) whole += m.hidden_size * (m.hidden_size + 1) + norm;
  if (m.has_pooler()) whole += m.hidden_size * (m.hidden_size + 1);
  whole += (m.hidden_size + 1) * (2 * int64_t{m.binary_head} + m.num_classes +
                                  int64_t{m.multichoice_head} + 2 * int64_t{m.qa_head});
  const int64_t total = m.num_parameters(m.padded_vocab_size(r.layout.tensor));
  return whole + (total - whole) / r.layout.tensor;
}

}  // namespace

int64_t Plan::total_bytes() const {
  int64_t total = 0;
  for (const auto& [name, bytes] : memory_bytes) total += bytes;
  return total;
}

Plan make_plan(const PlanRequest& r) {
  Plan plan;
  const int64_t padded = r.model.padded_vocab_size(r.layout.tensor);
  plan.parameters = r.model.num_parameters(r.model.vocab_size);
  plan.padded_parameters = r.model.num_parameters(padded);
  plan.rank_parameters = rank_parameters(r);
  const auto add = [&](const char* name, double bytes) {
    plan.memory_bytes.emplace_back(name, static_cast<int64_t>(bytes));
  };
  const double count = static_cast<double>(plan.rank_parameters);
  add("weights", count * static_cast<double>(r.compute_bytes));
  if (r.compute_bytes < 4) add("main parameters", count * 4);
  add("gradients", count * 4);
  add("optimizer state", count * 4 * static_cast<double>(r.moments));
  add("activations", activation_bytes(r));
  add("logits and loss", logits_bytes(r));
  add("working space", working_bytes(r));
  add("process", kProcessBytes);
  return plan;
}

std::string plan_text(const PlanRequest& r) {
  const Plan plan = make_plan(r);
  const auto& layout = r.layout;
  std::string text = fmt::format(
      "parameters           {:>15}\n"
      "  padded vocabulary  {:>15}  (vocabulary {} padded to {})\n"
      "  fullest rank       {:>15}\n",
      plan.parameters, plan.padded_parameters, r.model.vocab_size,
      r.model.padded_vocab_size(layout.tensor), plan.rank_parameters);
  text += fmt::format("ranks                {:>15}  tensor {} x data {}\n", layout.world_size(),
                      layout.tensor, layout.data);
  const auto group = [&](const char* name, const AxisSet& axes) {
    const auto first = group_ranks(layout, axes, 0);
    const std::vector<int64_t> shown(first.begin(),
                                     first.begin() + std::min<size_t>(first.size(), 8));
    text += fmt::format("  {} groups         {:>15}  of {} rank(s), the first: {}{}\n", name,
                        layout.world_size() / static_cast<int64_t>(first.size()), first.size(),
                        fmt::join(shown, " "), first.size() > 8 ? " ..." : "");
  };
  group("tensor", {.tensor = true});
  group("data  ", {.context = true, .data = true});
  text += fmt::format("batch                {:>15}  {} micro-batch(es) of {} on each data rank\n",
                      r.global_batch_size, r.global_batch_size / (r.micro_batch_size * layout.data),
                      r.micro_batch_size);
  text += "expected memory of the fullest rank\n";
  for (const auto& [name, bytes] : plan.memory_bytes) {
    text += fmt::format("  {:<26} {:>9.3f} GB\n", name, static_cast<double>(bytes) / 1e9);
  }
  text += fmt::format("  {:<26} {:>9.3f} GB\n", "together",
                      static_cast<double>(plan.total_bytes()) / 1e9);
  return text;
}

}  // namespace megalith

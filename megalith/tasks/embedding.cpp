#include "megalith/tasks/embedding.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <numeric>

#include "megalith/core/error.hpp"
#include "megalith/parallel/collectives.hpp"

namespace megalith {
namespace {

/// Longest first, so that what does not fit in memory fails at once.
std::vector<int64_t> by_length(const std::vector<TokenFeatures>& rows) {
  std::vector<int64_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return rows[a].ids.size() > rows[b].ids.size(); });
  return order;
}

at::Tensor on_device(const std::vector<int64_t>& values, const FeatureBatch& batch,
                     at::Device device) {
  const at::Tensor tensor = at::empty({batch.num_rows, batch.length}, at::kLong);
  std::memcpy(tensor.mutable_data_ptr(), values.data(), tensor.nbytes());
  return tensor.to(device);
}

at::Tensor mask_of(const FeatureBatch& batch) {
  const at::Tensor mask = at::empty({batch.num_rows, batch.length}, at::kByte);
  std::memcpy(mask.mutable_data_ptr(), batch.mask.data(), mask.nbytes());
  return mask;
}

/// [B, H], or [B, length, H].
at::Tensor forward(const BertModel& model, const FeatureBatch& batch, Pooling pooling) {
  const at::Device device = model.device();
  const at::Tensor mask = mask_of(batch).to(device);  // [B, S]
  const at::Tensor positions = at::arange(batch.length, at::kLong).to(device);
  LayerContext context;
  const at::Tensor hidden =
      model
          .hidden_states({.tokens = on_device(batch.ids, batch, device),
                          .position_ids = positions.expand({batch.num_rows, batch.length}),
                          .segments = {},
                          .token_types = on_device(batch.types, batch, device),
                          .padding_mask = mask.to(at::kBool)},
                         context)
          .transpose(0, 1)
          .to(at::kFloat);  // [B, S, H]
  if (pooling == Pooling::kCls) return hidden.select(1, 0);
  const at::Tensor weights = mask.to(at::kFloat).unsqueeze(-1);  // [B, S, 1]
  const at::Tensor kept = hidden.masked_fill(weights.eq(0), 0);  // whatever padding holds
  return pooling == Pooling::kNone ? kept : kept.sum(1) / weights.sum(1);
}

/// Where the results of all rows gather.
class Collector {
 public:
  Collector(const std::vector<TokenFeatures>& rows, const std::vector<int64_t>& order,
            int64_t hidden_size, Pooling pooling)
      : order_(order) {
    const auto count = static_cast<int64_t>(rows.size());
    if (pooling != Pooling::kNone) {
      result_.values = at::zeros({count, hidden_size}, at::kFloat);
      return;
    }
    const auto length = static_cast<int64_t>(rows[order.front()].ids.size());
    result_.values = at::zeros({count, length, hidden_size}, at::kFloat);
    result_.mask = at::zeros({count, length}, at::kByte);
    for (int64_t i = 0; i < count; ++i) {
      result_.mask[i].narrow(0, 0, static_cast<int64_t>(rows[i].ids.size())).fill_(1);
    }
  }
  /// `values`: of the rows from place `first` in the order on.
  void add(const at::Tensor& values, int64_t first) {
    for (int64_t i = 0; i < values.size(0); ++i) {
      at::Tensor row = result_.values[order_[first + i]];
      if (row.dim() == 2) row = row.narrow(0, 0, values.size(1));
      row.copy_(values[i]);
    }
  }
  Embeddings take() { return std::move(result_); }

 private:
  const std::vector<int64_t>& order_;
  Embeddings result_;
};

}  // namespace

Embeddings embed(const BertModel& model, const ProcessGroups& groups,
                 const std::vector<TokenFeatures>& rows, const EmbeddingOptions& options) {
  const at::NoGradGuard no_gradients;
  const std::vector<int64_t> order = by_length(rows);
  const Group& data = groups.data();
  const int64_t batch_size = options.micro_batch_size, all = std::ssize(rows);
  const bool is_first = groups.world_rank() == 0;
  std::optional<Collector> collector;
  if (is_first) collector.emplace(rows, order, model.config().hidden_size, options.pooling);
  for (int64_t round = 0; round < all; round += batch_size * data.size()) {
    groups.calls().set_phase(fmt::format("embedding, row {} of {}", round, all));
    // The batches of a round get one width, so that they can be gathered.
    const auto width = static_cast<int64_t>(rows[order[round]].ids.size());
    std::vector<int64_t> shape{batch_size, width, model.config().hidden_size};
    if (options.pooling != Pooling::kNone) shape.erase(shape.begin() + 1);
    at::Tensor mine = at::zeros(shape, at::TensorOptions().device(model.device()));
    const int64_t first = round + data.rank * batch_size;
    const int64_t count = std::clamp<int64_t>(all - first, 0, batch_size);
    if (count > 0) {
      std::vector<TokenFeatures> batch;
      for (int64_t i = 0; i < count; ++i) batch.push_back(rows[order[first + i]]);
      const at::Tensor values =
          forward(model, pad_features(batch, 0, options.pad_id), options.pooling);
      at::Tensor place = mine.narrow(0, 0, count);
      if (options.pooling == Pooling::kNone) place = place.narrow(1, 0, values.size(1));
      place.copy_(values);
    }
    // The other tensor ranks have the same results.
    if (groups.tensor().rank != 0) continue;
    const at::Tensor gathered = all_gather(mine, data).cpu();  // [data, B, ...]
    if (!gathered.isfinite().all().item<bool>()) {
      throw RunError("the model gives hidden states that are not finite; try --fp32");
    }
    if (!is_first) continue;
    for (int64_t rank = 0; rank < data.size(); ++rank) {
      const int64_t start = round + rank * batch_size;
      const int64_t here = std::clamp<int64_t>(all - start, 0, batch_size);
      if (here > 0) collector->add(gathered[rank].narrow(0, 0, here), start);
    }
    if (options.on_progress) {
      options.on_progress(std::min(round + batch_size * data.size(), all), all);
    }
  }
  return is_first ? collector->take() : Embeddings{};
}

}  // namespace megalith

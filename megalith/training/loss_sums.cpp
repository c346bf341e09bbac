#include "megalith/training/loss_sums.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace megalith {

at::Tensor loss_rows(const std::vector<LossPart>& parts) {
  std::vector<at::Tensor> rows;
  for (const auto& [sum, count] : parts) {
    rows.push_back(at::stack({sum.detach().to(at::kDouble), count.to(at::kDouble)}));
  }
  return at::stack(rows);
}

at::Tensor total_loss(const std::vector<LossPart>& parts) {
  at::Tensor total;
  for (const auto& [sum, count] : parts) {
    const at::Tensor mean = sum / count.clamp_min(1);
    total = total.defined() ? total + mean : mean;
  }
  return total;
}

std::vector<NamedLoss> mean_losses(const Model& model, const at::Tensor& sums) {
  const at::Tensor on_host = sums.cpu();
  std::vector<NamedLoss> losses;
  for (const auto& name : model.loss_names()) {
    const auto row = on_host[static_cast<int64_t>(losses.size())];
    losses.push_back({name, row[0].item<double>() / std::max(1.0, row[1].item<double>())});
  }
  return losses;
}

}  // namespace megalith

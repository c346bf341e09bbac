#include "megalith/optimizer/optimizer.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "megalith/ops/adam.hpp"
#include "megalith/parallel/collectives.hpp"

namespace megalith {

FieldList OptimizerConfig::fields() {
  return {
      {"optimizer", choice(kind, {"adam", "sgd"}),
       "Adam with decoupled weight decay, or SGD with momentum."},
      {"adam-beta1", &adam_beta1, "Decay of the first moment.", half_open(0, 1)},
      {"adam-beta2", &adam_beta2, "Decay of the second moment.", half_open(0, 1)},
      {"adam-eps", &adam_epsilon, "Added to the root of the second moment.", above(0)},
      {"sgd-momentum", &sgd_momentum, "Momentum of SGD.", half_open(0, 1)},
      {"clip-grad", &clip_grad, "Largest L2 norm of all gradients together; 0 switches it off.",
       at_least(0)},
  };
}

Optimizer::Optimizer(ParameterList& parameters, GradientBuffer& gradients,
                     const OptimizerConfig& config, const Group& model, bool counts_replicated)
    : parameters_(parameters),
      gradients_(gradients),
      config_(config),
      model_(model),
      counts_replicated_(counts_replicated),
      separate_main_(gradients.gradient(0).scalar_type() !=
                     parameters.front().value.scalar_type()) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor value = parameters[i].value.detach();
    const auto exact = gradients.gradient(i).scalar_type();
    main_.push_back(separate_main_ ? value.to(exact) : value);
    first_.push_back(at::zeros_like(gradients.gradient(i)));
    if (config.kind == OptimizerKind::kAdam) {
      second_.push_back(at::zeros_like(gradients.gradient(i)));
    }
  }
}

double Optimizer::global_norm(const std::function<at::Tensor(size_t)>& tensor_of) const {
  std::vector<at::Tensor> norms;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].shard.replicated || counts_replicated_) {
      norms.push_back(at::linalg_vector_norm(tensor_of(i)));
    }
  }
  at::Tensor sum = at::zeros({1}, main_.front().options().dtype(at::kDouble));
  if (!norms.empty()) sum += at::stack(norms).to(at::kDouble).square().sum();
  all_reduce(sum, model_);
  return std::sqrt(sum.item<double>());
}

double Optimizer::gradient_norm() const {
  return global_norm([this](size_t i) { return gradients_.gradient(i); });
}
double Optimizer::parameter_norm() const {
  return global_norm([this](size_t i) { return main_[i]; });
}

std::string Optimizer::first_bad_parameter() const {
  const auto count = static_cast<int64_t>(parameters_.size());
  at::Tensor first = at::full({1}, count, main_.front().options().dtype(at::kLong));
  for (int64_t i = count; i-- > 0;) {
    if (!at::isfinite(gradients_.gradient(static_cast<size_t>(i))).all().item<bool>())
      first.fill_(i);
  }
  all_reduce(first, model_, Reduction::kMin);
  const int64_t index = first.item<int64_t>();
  return index < count ? parameters_[static_cast<size_t>(index)].name : "(the norm overflowed)";
}

Optimizer::Result Optimizer::step(double learning_rate, double weight_decay, double loss_scale) {
  const c10::NoGradGuard no_grad;
  Result result;
  result.gradient_norm = gradient_norm() / loss_scale;
  if (!std::isfinite(result.gradient_norm)) {
    result.first_bad_parameter = first_bad_parameter();
    return result;
  }
  double scale = 1.0 / loss_scale;
  if (config_.clip_grad > 0) {
    const double clip = config_.clip_grad / (result.gradient_norm + 1e-6);
    if (clip < 1.0) scale *= clip;
  }
  ++num_updates_;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    update(i, learning_rate, parameters_[i].weight_decay ? weight_decay : 0.0, scale);
  }
  result.updated = true;
  return result;
}

void Optimizer::update(size_t index, double learning_rate, double weight_decay,
                       double gradient_scale) {
  const at::Tensor& gradient = gradients_.gradient(index);
  at::Tensor rounded = separate_main_ ? parameters_[index].value.detach() : at::Tensor();
  if (config_.kind == OptimizerKind::kAdam) {
    ops::adam_update(main_[index], gradient, first_[index], second_[index], rounded,
                     {learning_rate, config_.adam_beta1, config_.adam_beta2, config_.adam_epsilon,
                      weight_decay, num_updates_, gradient_scale});
  } else {
    ops::sgd_update(
        main_[index], gradient, first_[index],
        {learning_rate, config_.sgd_momentum, weight_decay, gradient_scale, num_updates_ == 1});
    if (separate_main_) rounded.copy_(main_[index]);
  }
}

std::vector<OptimizerState> Optimizer::state() const {
  std::vector<OptimizerState> state;
  const bool adam = config_.kind == OptimizerKind::kAdam;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const ShardSpec* shard = &parameters_[i].shard;
    if (separate_main_) state.push_back({"optimizer.main.", main_[i], shard});
    state.push_back({adam ? "optimizer.exp_avg." : "optimizer.momentum.", first_[i], shard});
    if (adam) state.push_back({"optimizer.exp_avg_sq.", second_[i], shard});
  }
  return state;
}

void Optimizer::restore(int64_t num_updates) {
  const c10::NoGradGuard no_grad;
  num_updates_ = num_updates;
  if (!separate_main_) return;
  for (size_t i = 0; i < parameters_.size(); ++i) parameters_[i].value.detach().copy_(main_[i]);
}

void Optimizer::adopt_parameters() {
  const c10::NoGradGuard no_grad;
  if (!separate_main_) return;
  for (size_t i = 0; i < parameters_.size(); ++i) main_[i].copy_(parameters_[i].value.detach());
}

}  // namespace megalith

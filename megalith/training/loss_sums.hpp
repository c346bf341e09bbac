// The parts of a model's loss on their way to the log: summed over micro-batches and ranks, then
// divided by what they counted.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "megalith/models/model.hpp"
#include "megalith/training/metrics.hpp"

namespace megalith {

/// The parts as rows of sum and count, in double: [parts, 2].
at::Tensor loss_rows(const std::vector<LossPart>& parts);

/// What is trained on: each part's mean over the micro-batch, added up.
at::Tensor total_loss(const std::vector<LossPart>& parts);

/// The means of sums [parts, 2], in the order of the model's parts.
std::vector<NamedLoss> mean_losses(const Model& model, const at::Tensor& sums);

}  // namespace megalith

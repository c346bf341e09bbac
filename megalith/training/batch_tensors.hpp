// A loader's micro-batch as tensors on the device.
#pragma once

#include <ATen/core/Tensor.h>

#include "megalith/data/batch_loader.hpp"
#include "megalith/models/gpt.hpp"

namespace megalith {

struct BatchTensors {
  ModelInput input;      // tokens, position_ids, segments [B, S]
  at::Tensor labels;     // [B, S] int64
  at::Tensor loss_mask;  // [S, B] fp32, as the token losses lie
};

BatchTensors to_tensors(const Batch& batch, at::Device device);

}  // namespace megalith

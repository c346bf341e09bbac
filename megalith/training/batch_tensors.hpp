// A loader's micro-batch as tensors on the device.
#pragma once

#include <ATen/core/Tensor.h>

#include "megalith/data/batch_loader.hpp"
#include "megalith/models/model.hpp"

namespace megalith {

struct BatchTensors {
  ModelInput input;
  Targets targets;
};

BatchTensors to_tensors(const Batch& batch, at::Device device);

}  // namespace megalith

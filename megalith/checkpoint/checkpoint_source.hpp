// A checkpoint of ours as the source of another: cut into other files, or in another precision.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>

#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/checkpoint/model_source.hpp"

namespace megalith {

struct CheckpointSource {
  ModelSource model;
  int64_t num_dropped = 0;  // tensors of the optimizer that are left out
  bool takes_main = false;  // the weights are the optimizer's main parameters
};

/// Everything in the checkpoint, its meta included. Where `dtype` is not that of the weights, the
/// weights are the main parameters, which are the exact ones, if there are any; the optimizer's
/// state, which goes with the weights as they were, is left out. Damage is found while reading:
/// tensors of one slice by SourceTensor::sha256, others by their slices' checksums.
CheckpointSource source_of(const Checkpoint& checkpoint, std::optional<at::ScalarType> dtype);

}  // namespace megalith

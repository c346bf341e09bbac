// transformers' BERTs as ours: the configuration, and our names for the parameters.
#pragma once

#include <string>

#include "megalith/layers/model_config.hpp"
#include "support/global_tensors.hpp"

namespace megalith::testing {

constexpr int64_t kOriginalBertLayers = 2;
/// The original order of norms, so many layers, no dropout.
ModelConfig original_bert(int64_t hidden_size, int64_t num_heads, int64_t num_positions,
                          int64_t vocab_size, bool with_binary_head);

/// The tensors of `theirs` whose names begin with `prefix`, by our names: transformers' norms
/// behind a block are ours before the next. "classifier" is there under both names that it may have
/// here.
TensorMap with_our_names(const TensorMap& theirs, int64_t num_layers,
                         const std::string& prefix = "");

}  // namespace megalith::testing

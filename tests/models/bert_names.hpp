// Our names for the parameters of transformers' BERTs.
#pragma once

#include <string>

#include "support/global_tensors.hpp"

namespace megalith::testing {

/// The tensors of `theirs` whose names begin with `prefix`, by our names: transformers' norms
/// behind a block are ours before the next. "classifier" is there under both names that it may have
/// here.
TensorMap with_our_names(const TensorMap& theirs, int64_t num_layers,
                         const std::string& prefix = "");

}  // namespace megalith::testing

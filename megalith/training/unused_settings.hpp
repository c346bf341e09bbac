// Settings that were given and that this run makes no use of, so that none is ignored in silence.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "megalith/training/run_config.hpp"

namespace megalith {

/// A sentence for each: "--rotary-base has no effect without --position-embedding-type rope".
/// `given` tells whether a flag stood on the command line or in the run file.
std::vector<std::string> unused_settings(const RunConfig& config,
                                         const std::function<bool(const std::string&)>& given);

}  // namespace megalith

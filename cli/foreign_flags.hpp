// What upstream's pretraining scripts pass that has another name here, no effect, or no support
// yet.
//
// An upstream flag is never ignored in silence: old spellings are taken, flags that cannot change a
// result here are accepted with a notice, and the rest are refused with a sentence.
#pragma once

#include <vector>

#include "cli/command_line.hpp"

namespace megalith::cli {

std::vector<ForeignFlag> pretrain_foreign_flags();

}  // namespace megalith::cli

// One command of cli/checkpoint.cpp's table.
#pragma once

#include "cli/commands.hpp"

namespace megalith::cli {

int run_checkpoint_convert(const Words& words);

}  // namespace megalith::cli

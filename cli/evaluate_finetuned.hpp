// megalith evaluate for the tasks that models are fine-tuned on: a saved model scored again, or the
// average of what several said.
#pragma once

#include "cli/commands.hpp"

namespace megalith::cli {

/// Whether the words ask for it where the task's name alone does not tell (multiple-choice, which
/// GPTs answer without fine-tuning): --ensemble, or --load of a fine-tuned model.
bool asks_for_finetuned(const Words& words);

}  // namespace megalith::cli

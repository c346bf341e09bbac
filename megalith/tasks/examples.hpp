// Files of examples, a JSON object a line: LAMBADA's texts, questions with choices.
//
// Packed files (gzip, zstd) are read as they are. Every broken line is found before the model runs,
// and told with file and line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "megalith/core/error.hpp"

namespace megalith {

/// A text whose last word is to be guessed: {"text": ...}.
struct ClozeExample {
  std::string text;
  int64_t line = 0;  // from 1
};

/// {"query": ..., "choices": [...], "gold": index}
struct ChoiceExample {
  std::string query;
  std::vector<std::string> choices;
  int64_t gold = 0;
  int64_t line = 0;
};

/// Adds to `problems` what is wrong with the lines. Throws UsageError when the file cannot be read.
std::vector<ClozeExample> read_cloze_examples(const std::string& path, Problems& problems);
std::vector<ChoiceExample> read_choice_examples(const std::string& path, Problems& problems);

}  // namespace megalith

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

/// Mistakes of the lines of a file, of which the first few are told.
class LineProblems {
 public:
  explicit LineProblems(std::string path) : path_(std::move(path)) {}
  void add(int64_t line, const std::string& what);
  /// Hands them on, the rest as a number.
  void add_to(Problems& problems) const;
  bool empty() const { return count_ == 0; }

 private:
  std::string path_;
  std::vector<std::string> first_;
  int64_t count_ = 0;
};

/// Adds to `problems` what is wrong with the lines. Throws UsageError when the file cannot be read.
std::vector<ClozeExample> read_cloze_examples(const std::string& path, Problems& problems);
std::vector<ChoiceExample> read_choice_examples(const std::string& path, Problems& problems);

}  // namespace megalith

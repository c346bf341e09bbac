// SQuAD 1.1 and 2.0 as published: questions about paragraphs whose answers are spans of them.
//
// Only the reading and the test whether an answer stands where the file says; squad_windows.hpp
// makes token ids, squad_answers.hpp answers of a model's outputs, squad_metrics.hpp scores.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "megalith/tokenizer/sourced_text.hpp"

namespace megalith {

struct SquadAnswer {
  std::string text;
  int64_t start = 0;  // characters (code points) of the context before it, as in the file
};

struct SquadQuestion {
  std::string id, question;
  size_t context = 0;  // index into SquadDataset::contexts
  std::vector<SquadAnswer> answers;
  bool is_impossible = false;  // 2.0: the context holds no answer
};

struct SquadDataset {
  std::string path;
  bool has_unanswerable = false;  // 2.0: questions may have no answer
  bool is_labelled = true;        // false when a question that has an answer comes without one
  std::vector<std::string> contexts;
  std::vector<SquadQuestion> questions;
};

/// Throws UsageError listing the mistakes, each with its place ("data/0/paragraphs/3/context"):
/// members that are missing or of the wrong kind, empty contexts, ids that come twice.
SquadDataset read_squad(const std::string& path);

/// Words between white space (space, tab, line breaks, U+202F), as BERT's run_squad sees them.
std::vector<ByteRange> squad_words(std::string_view context);

/// Where an answer stands: its first and last word. Nothing when these words do not hold its text,
/// white space aside; the public recipe leaves such a question out of training.
struct WordSpan {
  size_t first = 0, last = 0;
};
std::optional<WordSpan> find_answer(std::string_view context, const std::vector<ByteRange>& words,
                                    const SquadAnswer& answer);

}  // namespace megalith

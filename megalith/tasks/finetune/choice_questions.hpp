// Questions about a text with several answers to choose from: RACE, and one's own CSV or JSON
// lines.
//
// Only the reading: features.hpp makes token ids of them, one sequence a choice. RACE is read as it
// is published: folders middle and high of text files that hold a JSON object each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "megalith/core/fields.hpp"
#include "megalith/tasks/finetune/read_report.hpp"

namespace megalith {

struct ChoiceQuestion {
  std::string id;     // unique; RACE: "high1001.txt-0"
  std::string group;  // RACE: "middle" or "high", else ""
  std::string context, question;
  std::vector<std::string> choices;
  std::optional<int64_t> label = std::nullopt;
};

struct ChoiceSet {
  std::string path;
  int64_t num_choices = 0;  // of every question
  std::vector<ChoiceQuestion> questions;
  ReadReport report;
};

/// A folder that holds middle and high, or is one of them; files in the order of their names, by
/// number. Files without "answers" have no labels. Throws UsageError listing the mistakes.
ChoiceSet read_race(const std::string& folder);

/// Which columns (CSV) or members (JSON lines) of one's own file are what.
struct ChoiceColumns {
  std::string context = "context";
  std::string question = "question";      // "": the text is all there is
  std::vector<std::string> choices = {};  // empty: answer0, answer1, ... or the list "choices"
  std::string label = "label";            // the number of the right choice, from 0
  std::optional<std::string> id = std::nullopt;  // else the number of the line

  FieldList fields();
};

/// Files as in read_classification. A file without the label's column has no labels. Throws
/// UsageError listing the mistakes.
ChoiceSet read_multiple_choice(const std::string& path, const ChoiceColumns& columns);

}  // namespace megalith

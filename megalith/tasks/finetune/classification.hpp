// Texts and pairs of texts with a class each: MNLI, QQP, and one's own CSV or JSON lines.
//
// Only the reading: features.hpp makes token ids of them. MNLI and QQP are read as GLUE publishes
// them (TSV, columns by name, test files without labels). Classes are numbered as upstream's tasks
// do; those of one's own data in the order given or sorted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "megalith/core/fields.hpp"
#include "megalith/tasks/finetune/read_report.hpp"

namespace megalith {

struct LabelledText {
  std::string id;     // unique within its group
  std::string group;  // "matched", "mismatched" or ""
  std::string text_a;
  std::optional<std::string> text_b = std::nullopt;
  std::optional<int64_t> label = std::nullopt;  // nothing in files for submission
};

struct ClassificationSet {
  std::string path;
  std::vector<std::string> classes;
  std::vector<LabelledText> examples;
  ReadReport report;
};

/// contradiction 0, entailment 1, neutral 2. Columns sentence1, sentence2, gold_label, and index or
/// pairID. Rows whose annotators did not agree ("-") are left out. Throws UsageError listing the
/// mistakes of the file.
ClassificationSet read_mnli(const std::string& path, const std::string& group);

/// 0 and 1 (the questions mean the same). Columns id, question1, question2, is_duplicate. Rows with
/// a label and an empty question are left out, as upstream does.
ClassificationSet read_qqp(const std::string& path);

/// Which columns (CSV) or members (JSON lines) of one's own file are what.
struct ClassificationColumns {
  std::string text = "text";
  std::optional<std::string> text_b = std::nullopt;
  std::string label = "label";
  std::optional<std::string> id = std::nullopt;  // else the number of the line
  std::vector<std::string> classes = {};         // empty: those of the file, sorted

  FieldList fields();
};

/// A file ending in .jsonl or .json holds an object a line, .tsv is a table as GLUE's, anything
/// else is CSV. Labels are texts or whole numbers. A file without the label's column has no labels,
/// which needs `columns.classes`. Throws UsageError listing the mistakes.
ClassificationSet read_classification(const std::string& path,
                                      const ClassificationColumns& columns);

/// Numbers sort by value and before words.
std::vector<std::string> sorted_classes(std::vector<std::string> classes);

}  // namespace megalith

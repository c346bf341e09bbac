#include "megalith/tasks/finetune/classification.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <set>

#include "megalith/tasks/finetune/example_fields.hpp"
#include "megalith/tasks/finetune/text_table.hpp"

namespace megalith {
namespace {

/// An example whose label is still a word.
struct RawExample {
  LabelledText example;
  std::optional<std::string> label;
  std::string place;
};

std::optional<int64_t> class_of(const std::vector<std::string>& classes, const std::string& name) {
  const auto found = std::find(classes.begin(), classes.end(), name);
  if (found == classes.end()) return std::nullopt;
  return found - classes.begin();
}

/// Numbers the label, or says what is wrong with it.
void set_label(RawExample& raw, const std::vector<std::string>& classes, FileMistakes& mistakes) {
  if (!raw.label) return;
  raw.example.label = class_of(classes, *raw.label);
  if (!raw.example.label) {
    mistakes.add(raw.place, fmt::format("the label is {}, and the classes are {}",
                                        shortened(*raw.label), fmt::join(classes, ", ")));
  }
}

/// How GLUE names the columns of a task of pairs.
struct GlueColumns {
  std::vector<std::string> ids;  // the first one that is there
  std::string text_a, text_b, label;
};

using WhyLeftOut = std::function<std::string(const RawExample&)>;

std::string id_column(const TextTable& table, const std::vector<std::string>& names) {
  for (const auto& name : names) {
    if (table.find(name)) return name;
  }
  return names.front();
}

ClassificationSet read_glue(const std::string& path, const GlueColumns& columns,
                            std::vector<std::string> classes, const std::string& group,
                            const WhyLeftOut& why_left_out) {
  const TextTable table = read_tsv(path);
  const size_t id = table.require(id_column(table, columns.ids));
  const size_t text_a = table.require(columns.text_a), text_b = table.require(columns.text_b);
  const auto label = table.find(columns.label);
  ClassificationSet set{path, std::move(classes), {}, table.report};
  FileMistakes mistakes(path);
  UniqueIds ids;
  for (const TableRow& row : table.rows) {
    RawExample raw{.example = {.id = row.text(id),
                               .group = group,
                               .text_a = row.text(text_a),
                               .text_b = row.text(text_b)},
                   .label = label ? std::optional(row.text(*label)) : std::nullopt,
                   .place = fmt::format("line {}", row.line)};
    ids.add(raw.example.id, raw.place, mistakes);
    const std::string reason = raw.label ? why_left_out(raw) : "";
    if (!reason.empty()) {
      set.report.leave_out(reason, raw.place);
      continue;
    }
    set_label(raw, set.classes, mistakes);
    set.examples.push_back(std::move(raw.example));
  }
  mistakes.raise_if_any();
  if (set.examples.empty()) throw UsageError("{}: holds no example", path);
  return set;
}

std::vector<std::string> classes_of(const std::vector<RawExample>& examples,
                                    const ClassificationColumns& columns, const std::string& path) {
  if (!columns.classes.empty()) return columns.classes;
  std::set<std::string> found;
  for (const RawExample& raw : examples) {
    if (raw.label) found.insert(*raw.label);
  }
  if (found.empty()) {
    throw UsageError("{}: has no labels ('{}'), so the classes must be given: --classes A B ...",
                     path, columns.label);
  }
  return sorted_classes({found.begin(), found.end()});
}

std::optional<int64_t> whole_number(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::vector<std::string> sorted_classes(std::vector<std::string> classes) {
  std::sort(classes.begin(), classes.end(), [](const std::string& a, const std::string& b) {
    const auto number_a = whole_number(a), number_b = whole_number(b);
    if (number_a && number_b && *number_a != *number_b) return *number_a < *number_b;
    if (number_a.has_value() != number_b.has_value()) return number_a.has_value();
    return a < b;
  });
  return classes;
}

ClassificationSet read_mnli(const std::string& path, const std::string& group) {
  return read_glue(path,
                   {.ids = {"index", "pairID"},
                    .text_a = "sentence1",
                    .text_b = "sentence2",
                    .label = "gold_label"},
                   {"contradiction", "entailment", "neutral"}, group, [](const RawExample& raw) {
                     return *raw.label == "-" ? "no gold label ('-')" : "";
                   });
}

ClassificationSet read_qqp(const std::string& path) {
  return read_glue(
      path, {.ids = {"id"}, .text_a = "question1", .text_b = "question2", .label = "is_duplicate"},
      {"0", "1"}, "", [](const RawExample& raw) {
        if (is_blank(raw.example.text_a)) return "question1 is empty";
        return is_blank(*raw.example.text_b) ? "question2 is empty" : "";
      });
}

FieldList ClassificationColumns::fields() {
  return {
      {"text-column", &text, "The column or member that holds the text."},
      {"text-b-column", &text_b, "The second text of a pair."},
      {"label-column", &label, "The class, a word or a whole number."},
      {"id-column", &id, "What names an example; otherwise its line does."},
      {"classes", &classes, "The classes in their order; otherwise those of the training data."},
  };
}

ClassificationSet read_classification(const std::string& path,
                                      const ClassificationColumns& columns) {
  ClassificationSet set{.path = path, .classes = {}, .examples = {}, .report = ReadReport(path)};
  FileMistakes mistakes(path);
  UniqueIds ids;
  std::vector<RawExample> raws;
  std::vector<ColumnUse> uses = {{columns.text, "text-column"}};
  if (columns.text_b) uses.push_back({*columns.text_b, "text-b-column"});
  if (columns.id) uses.push_back({*columns.id, "id-column"});
  read_example_fields(path, uses, mistakes, set.report, [&](const ExampleFields& fields) {
    RawExample raw{.example = {}, .label = fields.find(columns.label), .place = fields.place()};
    raw.example.text_a = fields.require(columns.text);
    if (is_blank(raw.example.text_a)) {
      mistakes.add(raw.place,
                   fmt::format("'{}' is empty; fill it in or delete the row", columns.text));
    }
    if (columns.text_b) raw.example.text_b = fields.require(*columns.text_b);
    raw.example.id = columns.id ? fields.require(*columns.id) : std::to_string(fields.line());
    ids.add(raw.example.id, raw.place, mistakes);
    raws.push_back(std::move(raw));
  });
  mistakes.raise_if_any();
  if (raws.empty()) throw UsageError("{}: holds no example", path);
  set.classes = classes_of(raws, columns, path);
  const bool some_labelled = std::any_of(
      raws.begin(), raws.end(), [](const RawExample& raw) { return raw.label.has_value(); });
  for (RawExample& raw : raws) {
    if (some_labelled && !raw.label) {
      mistakes.add(raw.place, fmt::format("has no label ('{}') and others have", columns.label));
    }
    set_label(raw, set.classes, mistakes);
    set.examples.push_back(std::move(raw.example));
  }
  mistakes.raise_if_any();
  return set;
}

}  // namespace megalith

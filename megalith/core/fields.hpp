// One option, one home: the field listing from which flags, run files, --help, the printed summary
// and the copy inside a checkpoint are all made.
//
// A config struct gives `FieldList fields()`: for each member its flag name, a pointer to it, one
// sentence of help and the values allowed. cli/command_line turns lists into flags; to_json and
// from_json here serve summaries and checkpoints. Cross-checks between fields live with the
// struct that owns the question, not here.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "megalith/core/error.hpp"

namespace megalith {

/// An enum member seen as one of a list of names; enumerators count from 0 in the order of `names`.
struct Choice {
  std::vector<std::string> names;
  std::function<size_t()> get;
  std::function<void(size_t)> set;
};

template <class Enum>
Choice choice(Enum& member, std::vector<std::string> names) {
  return {std::move(names), [&member] { return static_cast<size_t>(member); },
          [&member](size_t index) { member = static_cast<Enum>(index); }};
}

using FieldValue = std::variant<bool*, int64_t*, double*, std::string*, std::optional<int64_t>*,
                                std::optional<double>*, std::optional<std::string>*,
                                std::vector<std::string>*, std::vector<int64_t>*, Choice>;

/// Which numbers a field takes; `text` completes the sentence "must be ...".
struct Range {
  std::string text;
  std::function<bool(double)> holds;
};

Range at_least(double low);
Range above(double low);
Range between(double low, double high);    // both ends allowed
Range half_open(double low, double high);  // low allowed, high not

struct Field {
  std::string name;  // the flag without its dashes
  FieldValue value;
  std::string help;
  std::optional<Range> range = std::nullopt;
  std::string default_text =
      {};             // shown in --help where the default is derived, e.g. "4 x hidden-size"
  int64_t count = 0;  // lists of exactly this many values; 0 means any number
};

using FieldList = std::vector<Field>;

/// Sets a field from the words of a command line or run file (a switch takes "true" or "false").
/// Returns what is wrong, or nothing.
std::optional<std::string> set_field(const Field& field, const std::vector<std::string>& words);

/// The field's value as words, such that set_field restores it; nothing when it is unset.
std::optional<std::vector<std::string>> field_words(const Field& field);

/// {name: value}; unset optional fields are null.
nlohmann::json fields_to_json(const FieldList& fields);

/// Sets fields from fields_to_json's object. Keys that no field has are an error; missing keys keep
/// their value. `source` names the file in messages.
void fields_from_json(const FieldList& fields, const nlohmann::json& object,
                      const std::string& source);

/// The known name nearest to `word` by edit distance, or "" when none is near.
std::string nearest_name(const std::string& word, const std::vector<std::string>& known);

}  // namespace megalith

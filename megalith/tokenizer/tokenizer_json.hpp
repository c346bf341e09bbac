// A place in a tokenizer.json, and questions to it whose answers are checked.
//
// Every question that cannot be answered adds one problem, which names the file, the place
// ("pre_tokenizer.pretokenizers[1].pattern"), what stands there and what was expected; the caller
// goes on with a stand-in, so that all mistakes are found in one pass. Which components there are
// is not known here: see hugging_face_tokenizer.hpp.
#pragma once

#include <simdjson.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "megalith/core/error.hpp"

namespace megalith {

class JsonPlace {
 public:
  /// `problems` collects; `file` is how messages begin.
  JsonPlace(simdjson::dom::element value, std::string file, Problems& problems)
      : value_(value), file_(std::move(file)), problems_(&problems) {}

  const simdjson::dom::element& value() const { return value_; }
  /// "" at the root, else "model.vocab".
  const std::string& place() const { return place_; }
  Problems& problems() const { return *problems_; }
  /// Adds "FILE: PLACE: TEXT".
  void complain(std::string_view text) const;
  /// complain() with the place that a member has or would have.
  void complain_about(std::string_view key, std::string_view text) const;

  bool is_object() const { return value_.is_object(); }
  bool is_string() const { return value_.is_string(); }
  /// The member, if it is there and not null.
  std::optional<JsonPlace> find(std::string_view key) const;
  /// The member, or nothing and a problem.
  std::optional<JsonPlace> require(std::string_view key) const;

  /// Their stand-in is "" (or false, 0, none).
  std::string text() const;
  std::string text(std::string_view key) const;
  bool flag(std::string_view key) const;
  bool flag(std::string_view key, bool otherwise) const;
  int64_t whole_number(std::string_view key) const;
  /// A text of one character.
  std::string character(std::string_view key) const;
  /// The entries of a list.
  std::vector<JsonPlace> list(std::string_view key) const;
  /// One of `known`, or "" and a problem that lists them.
  std::string choice(std::string_view key, const std::vector<std::string>& known) const;
  /// The member "type", which must be one of `supported`; `what` names the kind of component.
  std::string type(std::string_view what, const std::vector<std::string>& supported) const;

 private:
  JsonPlace at(std::string_view key, simdjson::dom::element value) const;

  simdjson::dom::element value_;
  std::string file_, place_;
  Problems* problems_;
};

/// What stands at a place, for messages: cut short.
std::string shown(const simdjson::dom::element& value);

/// Throws UsageError with line and column where `text` is no JSON; `what` was expected.
simdjson::dom::element parse_json(simdjson::dom::parser& parser, const std::string& text,
                                  std::string_view path, std::string_view what);

}  // namespace megalith

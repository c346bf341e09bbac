// The "normalizer" of a tokenizer.json: what is done to a text before it is cut.
//
// A chain of steps, each of which replaces a well-formed text by another. Equal to the `tokenizers`
// package; supported are the kinds that byte-level, SentencePiece-style and BERT tokenizers use.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "megalith/tokenizer/tokenizer_json.hpp"

namespace megalith {

class TextNormalizer {
 public:
  virtual ~TextNormalizer() = default;
  virtual void apply(std::string& text) const = 0;
  /// Whether texts may be cut before a space that follows a printable ASCII character, and
  /// normalized one by one.
  virtual bool works_in_parts() const = 0;
};

using TextNormalizers = std::vector<std::unique_ptr<const TextNormalizer>>;

/// Reads a "normalizer"; mistakes go to the place's problems.
TextNormalizers read_normalizer(const JsonPlace& place);

/// A "pattern" member: {"String": "..."} or {"Regex": "..."}.
class TextPattern {
 public:
  explicit TextPattern(const JsonPlace& owner);

  void each_match(std::string_view text,
                  const std::function<void(size_t begin, size_t end)>& visit) const;
  /// `text` with `by` in the place of every match.
  std::string replaced(std::string_view text, std::string_view by) const;
  const std::optional<std::string>& literal() const { return literal_; }
  /// The expression as it stands in the file, or "".
  const std::string& expression() const { return expression_; }

 private:
  std::optional<std::string> literal_;
  std::string expression_;
  std::shared_ptr<const class RegexPattern> regex_;
};

}  // namespace megalith

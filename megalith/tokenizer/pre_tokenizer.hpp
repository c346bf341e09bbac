// The "pre_tokenizer" of a tokenizer.json: how a normalized text is cut into the pieces that the
// model encodes one by one.
//
// A chain of steps; each gets a piece and gives pieces of it, in order, to the next. The patterns
// of GPT-2, Llama 3 and Qwen2 are matched by hand-written code, any other by regex_pattern.hpp.
// Equal to the `tokenizers` package.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "megalith/tokenizer/tokenizer_json.hpp"

namespace megalith {

/// Part of a text. `at_start`: it begins where the text begins.
struct TextPart {
  std::string_view text;
  bool at_start = false;
};

using PieceVisit = std::function<void(const TextPart&)>;

class PreTokenizerStep {
 public:
  virtual ~PreTokenizerStep() = default;
  /// Calls `visit` for pieces that are not empty; they are valid during the call only.
  virtual void split(const TextPart& piece, const PieceVisit& visit) const = 0;
  /// Whether a text may be cut before a space that follows a printable ASCII character, and its
  /// parts be split one by one.
  virtual bool works_in_parts() const = 0;
  /// Whether there always is a border between pieces before such a space.
  virtual bool cuts_at_spaces() const = 0;
};

class PreTokenizer {
 public:
  PreTokenizer() = default;
  /// Reads a "pre_tokenizer"; mistakes go to the place's problems.
  explicit PreTokenizer(const JsonPlace& place);

  void split(const TextPart& text, const PieceVisit& visit) const { split_from(0, text, visit); }
  /// Whether the model works on bytes as GPT-2 writes them: the last step is ByteLevel.
  bool byte_level() const { return byte_level_; }
  bool works_in_parts() const;

 private:
  void add(const JsonPlace& place);
  void split_from(size_t step, const TextPart& piece, const PieceVisit& visit) const;

  std::vector<std::unique_ptr<const PreTokenizerStep>> steps_;
  bool byte_level_ = false;
};

}  // namespace megalith

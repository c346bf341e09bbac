// The "decoder" of a tokenizer.json: how the entries that ids stand for become text again.
//
// A chain of steps over the list of entries, joined at the end; without one, entries are joined by
// spaces. Equal to the `tokenizers` package's decode(ids, skip_special_tokens=False).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "megalith/tokenizer/tokenizer_json.hpp"

namespace megalith {

class TokenDecoderStep {
 public:
  virtual ~TokenDecoderStep() = default;
  /// `repair`: bytes that are no UTF-8 become U+FFFD; else they stay, for those who put pieces
  /// together.
  virtual void apply(std::vector<std::string>& tokens, bool repair) const = 0;
};

class TokenDecoder {
 public:
  TokenDecoder() = default;
  /// Reads a "decoder"; mistakes go to the place's problems.
  explicit TokenDecoder(const JsonPlace& place);

  std::string decode(std::vector<std::string> tokens, bool repair) const;

 private:
  void add(const JsonPlace& place);

  bool joins_by_spaces_ = true;
  std::vector<std::unique_ptr<const TokenDecoderStep>> steps_;
};

}  // namespace megalith

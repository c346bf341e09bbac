// Whole files of text to token ids and back: what `megalith tokenize` does.
//
// Input is read in blocks and encoded as it comes, so text of any size passes in bounded memory as
// long as it holds spaces; ids to be decoded are held as a whole. Data sets for training are made
// elsewhere, by megalith preprocess.
#pragma once

#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith {

enum class IdFormat { kAuto, kText, kBinary };

struct TokenizeOptions {
  bool lines = false;
  bool decode = false;
  IdFormat ids = IdFormat::kAuto;
  std::optional<std::string> output = std::nullopt;

  FieldList fields();
};

/// Encodes (or decodes) the file `input`, or standard input for "" and "-", to options.output or
/// standard output. Throws UsageError on input that cannot be read or understood, RunError on
/// output that cannot be written; an output file appears whole or not at all.
void tokenize_file(const Tokenizer& tokenizer, const TokenizeOptions& options,
                   const std::string& input);

}  // namespace megalith

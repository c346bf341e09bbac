// Reads a tokenizer.json into the parts that a tokenizer is made of, and checks all of it.
//
// Everything a later surprise could come from is found here: kinds of components that are not
// supported, ids with holes, duplicates, merges of unknown parts. All mistakes are listed at once.
// How the parts work together is hugging_face_tokenizer.hpp's.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "megalith/tokenizer/added_tokens.hpp"
#include "megalith/tokenizer/byte_pair_encoder.hpp"
#include "megalith/tokenizer/pre_tokenizer.hpp"
#include "megalith/tokenizer/text_normalizer.hpp"
#include "megalith/tokenizer/token_decoder.hpp"
#include "megalith/tokenizer/word_piece_encoder.hpp"

namespace megalith {

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using TokenIdMap = std::unordered_map<std::string, int32_t, TextHash, std::equal_to<>>;

struct TokenizerParts {
  TextNormalizers normalizers;
  PreTokenizer pre_tokenizer;
  std::optional<std::variant<BytePairEncoder, WordPieceEncoder>> model;  // always there
  TokenDecoder decoder;
  std::vector<AddedToken> added;
  std::vector<std::string> tokens;  // by id, as they are written
  TokenIdMap ids;                   // the inverse
  std::optional<std::string> pad_token;
  std::vector<std::string> notices;  // what the file asks for and is not done
};

/// `name` is the file's, for messages. Throws UsageError listing what is wrong.
TokenizerParts read_tokenizer_parts(const std::string& json, const std::string& name);

}  // namespace megalith

// BERT's WordPiece: each word of bert_splitter.hpp as the longest known beginning, then the longest
// known continuations ("##ing").
//
// A word that cannot be put together, or that has more than 100 characters, is [UNK]. No [CLS] or
// [SEP] is added. Equal to the `tokenizers` package, ids and places; Devlin et al. (2018),
// section 3.
#pragma once

#include <unordered_map>

#include "megalith/tokenizer/bert_splitter.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith {

/// A piece and the bytes of the text from its first to its last character. Accents that
/// lower-casing dropped are outside when they stand at an end; pieces of a decomposed character
/// share it.
struct TextPiece {
  int32_t id = 0;
  ByteRange source;
  bool operator==(const TextPiece&) const = default;
};

class WordPieceTokenizer : public Tokenizer {
 public:
  /// Reads one entry a line. Throws UsageError naming the file and line at fault.
  WordPieceTokenizer(const std::string& vocab_file, LetterCase letter_case);

  void append_ids(std::string_view text, std::vector<int32_t>& ids) const override;
  /// The same ids with their places. Throws UsageError when `text` is not UTF-8, since a repaired
  /// text has other places.
  std::vector<TextPiece> pieces(std::string_view text) const;
  /// Words joined by spaces, continuations glued to what precedes them.
  std::string decode_bytes(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return static_cast<int64_t>(tokens_.size()); }
  std::optional<int32_t> eod() const override { return std::nullopt; }
  std::optional<int32_t> pad() const override { return token_id("[PAD]"); }
  std::optional<int32_t> token_id(std::string_view token) const override;
  std::string name() const override;
  nlohmann::ordered_json description() const override;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Ids = std::unordered_map<std::string, int32_t, Hash, std::equal_to<>>;
  void append_word(std::u32string_view word, std::vector<int32_t>& ids,
                   std::vector<size_t>* sizes = nullptr) const;

  std::string vocab_file_;
  LetterCase letter_case_;
  BertSplitter splitter_;
  std::vector<std::string> tokens_;
  Ids beginnings_, continuations_;  // the latter without their ##
  size_t longest_bytes_ = 0;
  int32_t unknown_ = 0;
};

}  // namespace megalith

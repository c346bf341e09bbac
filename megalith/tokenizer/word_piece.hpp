// BERT's tokenizers: bert_normalizer.hpp cleans, bert_splitter.hpp cuts, word_piece_encoder.hpp
// puts each word together from the entries of a vocab.txt.
//
// No [CLS] or [SEP] is added. On demand every piece says which bytes of the text it came from.
// Equal to the `tokenizers` package, ids and places. A tokenizer.json is
// hugging_face_tokenizer.hpp's.
#pragma once

#include "megalith/tokenizer/bert_normalizer.hpp"
#include "megalith/tokenizer/bert_splitter.hpp"
#include "megalith/tokenizer/tokenizer.hpp"
#include "megalith/tokenizer/word_piece_encoder.hpp"

namespace megalith {

enum class LetterCase { kKeep, kLower };

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
  int64_t vocab_size() const override { return static_cast<int64_t>(encoder_.entries().size()); }
  std::optional<int32_t> eod() const override { return std::nullopt; }
  std::optional<int32_t> pad() const override { return token_id("[PAD]"); }
  std::optional<int32_t> token_id(std::string_view token) const override {
    return encoder_.find(token);
  }
  std::string name() const override;
  nlohmann::ordered_json description() const override;

 private:
  std::string vocab_file_;
  LetterCase letter_case_;
  BertNormalizer normalizer_;
  BertSplitter splitter_;
  WordPieceEncoder encoder_;
};

}  // namespace megalith

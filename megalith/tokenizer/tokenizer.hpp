// What every tokenizer offers, its flags, and the factory that makes one from them.
//
// A tokenizer is read-only after construction: encode() may be called by many threads at once. It
// adds no special tokens, and recognises none but those that a tokenizer.json lists: elsewhere
// "<|endoftext|>" in a text is ordinary text. Padding of the vocabulary belongs to the model, not
// here. See gpt2_bpe.hpp, word_piece.hpp, hugging_face_tokenizer.hpp, null_tokenizer.hpp.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "megalith/core/error.hpp"
#include "megalith/core/fields.hpp"

namespace megalith {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Appends the ids of `text`. Ill-formed UTF-8 is replaced by U+FFFD as Python's errors="replace"
  /// does. Throws UsageError only where a text cannot be expressed at all.
  virtual void append_ids(std::string_view text, std::vector<int32_t>& ids) const = 0;
  std::vector<int32_t> encode(std::string_view text) const;

  /// The text of ids; ill-formed UTF-8 is replaced. Throws UsageError on an id out of range.
  virtual std::string decode(std::span<const int32_t> ids) const;
  /// The bytes of ids as they are, for those who put pieces together.
  virtual std::string decode_bytes(std::span<const int32_t> ids) const = 0;

  /// Number of ids, without any padding.
  virtual int64_t vocab_size() const = 0;
  /// The id that ends a document, when the vocabulary has one.
  virtual std::optional<int32_t> eod() const = 0;
  /// eod(), or a UsageError that says who asked ("--append-eod") and what is missing.
  int32_t require_eod(std::string_view asked_by) const;
  /// The padding id, when it is none of the text's own; elsewhere padding is marked by -1.
  virtual std::optional<int32_t> pad() const { return std::nullopt; }
  /// The id of an entry of the vocabulary as it is written there ("[CLS]").
  virtual std::optional<int32_t> token_id(std::string_view) const { return std::nullopt; }

  /// As given to --tokenizer-type.
  virtual std::string name() const = 0;
  /// What upstream's cache descriptions say about this tokenizer, in upstream's order.
  virtual nlohmann::ordered_json description() const = 0;
  /// What the files ask for and is not done, a sentence each, for whoever talks to the user.
  virtual std::vector<std::string> notices() const { return {}; }

  /// The last place (or 0) where `text` may be cut so that the ids of both parts, one after the
  /// other, are the ids of the whole, whatever follows: before an ASCII space that a printable
  /// ASCII character precedes. For texts that are never in memory as a whole.
  virtual size_t last_safe_cut(std::string_view text) const;

 protected:
  /// Throws UsageError unless 0 <= id < vocab_size().
  void check_id(int32_t id) const;
};

struct TokenizerConfig {
  std::optional<std::string> tokenizer_type = std::nullopt;
  std::optional<std::string> vocab_file = std::nullopt;
  std::optional<std::string> merge_file = std::nullopt;
  std::optional<std::string> tokenizer_model = std::nullopt;
  std::optional<int64_t> vocab_size = std::nullopt;

  FieldList fields();
};

/// Finds missing, unknown and superfluous flags without opening a file.
void check_tokenizer_config(const TokenizerConfig& config, Problems& problems);

/// Finds files that are missing or cannot be read, without reading them.
void check_tokenizer_files(const TokenizerConfig& config, Problems& problems);

/// What --tokenizer-model names: the file itself, or tokenizer.json in the folder. Throws
/// UsageError for a SentencePiece model, with the way to convert it.
std::string tokenizer_file(const std::string& tokenizer_model);

/// Throws UsageError listing what is wrong with flags or files.
std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerConfig& config);

}  // namespace megalith

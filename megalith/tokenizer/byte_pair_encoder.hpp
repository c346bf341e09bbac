// Byte pair encoding of one piece of text: symbols first (bytes, or characters with their
// fallbacks), then merges; a piece whose encoding is one id is one look-up.
//
// Where texts are cut into pieces is not known here: see gpt2_splitter.hpp and pre_tokenizer.hpp.
// No cache, hence no locks and no state between calls. Equal to the BPE model of the `tokenizers`
// package, except that text no entry can express is an error here, not left out.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "megalith/tokenizer/byte_pair_merges.hpp"

namespace megalith {

struct BytePairOptions {
  /// What a piece is made of: its bytes, or its characters.
  enum class Symbols { kBytes, kCharacters };
  Symbols symbols = Symbols::kBytes;
  /// The ids of <0x00> to <0xFF> (-1: none), into which unknown characters fall; empty: they do
  /// not.
  std::vector<int32_t> fallback_ids = {};
  /// What stands for an unknown symbol; nothing: it is an error.
  std::optional<int32_t> unknown = std::nullopt;
  bool fuse_unknown = false;
  /// A piece that is an entry is that entry, whether merges lead to it or not.
  bool ignore_merges = false;
  /// The file, for messages.
  std::string source = {};
};

class BytePairEncoder {
 public:
  /// `entries[id]` is what id stands for within a piece; empty where it never occurs in one.
  BytePairEncoder(std::vector<std::string> entries, const std::vector<BytePairMerge>& merges,
                  BytePairOptions options);

  /// Appends the ids of a well-formed piece. Throws UsageError naming a symbol that has no id.
  void append_piece(std::string_view piece, std::vector<int32_t>& ids) const;

  /// How many entries merges lead to.
  int64_t num_reached() const { return num_reached_; }
  /// Whether no merge joins "▁" to a character before it, so that pieces may be cut there.

 private:
  struct Slot {
    uint32_t tag = 0;  // upper half of the hash
    int32_t id = -1;
  };
  void index_symbols();
  void index_whole_pieces();
  void append_word(std::string_view word, std::vector<int32_t>& ids) const;
  /// Returns the first symbol that has no id, or nothing.
  std::string_view append_symbols(std::string_view word, std::vector<int32_t>& ids) const;
  bool append_fallback(std::string_view symbol, std::vector<int32_t>& ids) const;
  [[noreturn]] void refuse(std::string_view symbol) const;
  int32_t character_id(char32_t code) const {
    return code < character_ids_.size() ? character_ids_[code] : -1;
  }
  bool is_found(std::string_view word, std::vector<int32_t>& ids) const;

  std::vector<std::string> entries_;
  BytePairMerges merges_;
  BytePairOptions options_;
  std::array<int32_t, 256> byte_ids_;
  std::vector<int32_t> character_ids_;  // by code point, up to the last one known
  std::vector<Slot> whole_;             // open addressing: pieces whose encoding is one id
  int64_t num_reached_ = 0;
  bool cuts_at_words_ = false;
};

}  // namespace megalith

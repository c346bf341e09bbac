// WordPiece of one word: the longest known beginning, then the longest known continuations
// ("##ing"); a word that cannot be put together, or has too many characters, is unknown.
//
// Equal to the `tokenizers` package; Devlin et al. (2018), section 3. How words are cut out of text
// is bert_splitter.hpp's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace megalith {

struct WordPieceOptions {
  std::string continuation = "##";
  int64_t longest_word = 100;  // characters, as in BERT's code
  int32_t unknown = 0;
};

class WordPieceEncoder {
 public:
  /// `entries[id]`; the empty ones are never found.
  WordPieceEncoder(std::vector<std::string> entries, WordPieceOptions options);

  /// `sizes`, where wanted, takes the bytes of the word that each id stands for.
  void append_word(std::string_view word, std::vector<int32_t>& ids,
                   std::vector<size_t>* sizes = nullptr) const;
  const std::vector<std::string>& entries() const { return entries_; }
  /// The id of an entry as it is written.
  std::optional<int32_t> find(std::string_view entry) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Ids = std::unordered_map<std::string, int32_t, Hash, std::equal_to<>>;

  WordPieceOptions options_;
  std::vector<std::string> entries_;
  Ids beginnings_, continuations_;  // the latter without their ##
  size_t longest_bytes_ = 0;
};

}  // namespace megalith

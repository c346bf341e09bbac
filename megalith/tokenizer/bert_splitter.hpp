// BERT's basic tokenization: cleans text and cuts it into words and punctuation marks.
//
// Control characters vanish, ideographs stand alone, and with LetterCase::kLower accents go and
// letters become small. The order is the reference's: clean, space out ideographs, decompose (NFD),
// drop accents, lower case, cut at punctuation. Devlin et al. (2018); word pieces are
// word_piece.hpp's. On demand every character of a word says which bytes of the text it came from.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "megalith/tokenizer/unicode.hpp"

struct UNormalizer2;

namespace megalith {

enum class LetterCase { kKeep, kLower };

/// Bytes [begin, end) of a text.
struct ByteRange {
  size_t begin = 0, end = 0;
  bool operator==(const ByteRange&) const = default;
};

class BertSplitter {
 public:
  explicit BertSplitter(LetterCase letter_case);

  using Visit = std::function<void(std::u32string_view word)>;
  /// Calls `visit` for each word of a well-formed text, in order.
  void split(std::string_view text, const Visit& visit) const;

  using VisitWithSources =
      std::function<void(std::u32string_view word, std::span<const ByteRange> sources)>;
  /// The same words, each character with the character of `text` that it came from. Dropped accents
  /// and control characters belong to no character; the parts of a decomposed one share its bytes.
  void split_with_sources(std::string_view text, const VisitWithSources& visit) const;

 private:
  struct Word {
    std::u32string codes;
    std::vector<ByteRange> sources;  // as many as codes, or none at all where nobody asked
  };
  template <bool kWithSources>
  void split_words(std::string_view text, const VisitWithSources& visit) const;
  void finish(Word& word, const VisitWithSources& visit) const;
  void fold(Word& word) const;
  void drop_marks(Word& word) const;
  void decompose(Word& word) const;
  void cut_at_punctuation(const Word& word, const VisitWithSources& visit) const;

  LetterCase letter_case_;
  unicode::ClassTable kinds_;
  std::unordered_map<char32_t, char32_t> lower_;
  const UNormalizer2* nfd_;
};

}  // namespace megalith

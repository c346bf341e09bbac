// BERT's basic tokenization: cleans text and cuts it into words and punctuation marks.
//
// Control characters vanish, ideographs stand alone, and with LetterCase::kLower accents go and
// letters become small. The order is the reference's: clean, space out ideographs, decompose (NFD),
// drop accents, lower case, cut at punctuation. Devlin et al. (2018); word pieces are
// word_piece.hpp's.
#pragma once

#include <functional>
#include <string_view>
#include <unordered_map>

#include "megalith/tokenizer/unicode.hpp"

struct UNormalizer2;

namespace megalith {

enum class LetterCase { kKeep, kLower };

class BertSplitter {
 public:
  explicit BertSplitter(LetterCase letter_case);

  using Visit = std::function<void(std::u32string_view word)>;
  /// Calls `visit` for each word of a well-formed text, in order.
  void split(std::string_view text, const Visit& visit) const;

 private:
  void finish(std::u32string& word, const Visit& visit) const;
  void fold(std::u32string& word) const;
  void decompose(std::u32string& word) const;
  void cut_at_punctuation(std::u32string_view word, const Visit& visit) const;

  LetterCase letter_case_;
  unicode::ClassTable kinds_;
  std::unordered_map<char32_t, char32_t> lower_;
  const UNormalizer2* nfd_;
};

}  // namespace megalith

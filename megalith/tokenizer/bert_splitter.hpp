// Cuts cleaned text (bert_normalizer.hpp) into BERT's words: at white space, which vanishes, and at
// punctuation marks, which stand alone. Devlin et al. (2018); word pieces are
// word_piece_encoder.hpp's.
#pragma once

#include <functional>
#include <string_view>

#include "megalith/tokenizer/unicode.hpp"

namespace megalith {

class BertSplitter {
 public:
  BertSplitter();

  using Visit = std::function<void(std::string_view word)>;
  /// Calls `visit` for each word of a well-formed text, in order.
  void split(std::string_view text, const Visit& visit) const;

 private:
  unicode::ClassTable kinds_;
};

}  // namespace megalith

// BERT's cleaning of text: what happens before words are cut out of it.
//
// Control characters vanish, white space becomes spaces, ideographs stand alone, accents go and
// letters become small, each if asked for. The order is the reference's: clean, space out
// ideographs, decompose (NFD), drop accents, lower case. Where the text has sources, they stay with
// it: what vanishes is nobody's source, the parts of a decomposed character share theirs. Devlin et
// al. (2018); cutting is bert_splitter.hpp's.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "megalith/tokenizer/sourced_text.hpp"
#include "megalith/tokenizer/unicode.hpp"
#include "megalith/tokenizer/unicode_forms.hpp"

namespace megalith {

/// Lower case, one character at a time, as the reference's standard library has it.
class LowerCase {
 public:
  LowerCase();
  /// Appends the lower case of the character at `at` of `from`, which is `code`; one (U+0130) has
  /// two characters.
  void append(char32_t code, const SourcedText& from, size_t at, SourcedText& to) const;
  void apply(std::string& text) const;

 private:
  std::unordered_map<char32_t, char32_t> lower_;
};

struct BertCleaning {
  bool clean_text = true;
  bool space_out_ideographs = true;
  bool strip_accents = true;
  bool lower_case = true;
};

class BertNormalizer {
 public:
  explicit BertNormalizer(const BertCleaning& cleaning);

  /// Replaces a well-formed text by its cleaned form.
  void apply(SourcedText& text) const;

 private:
  void clean(SourcedText& text) const;
  void fold(SourcedText& text) const;

  BertCleaning cleaning_;
  unicode::ClassTable kinds_;
  LowerCase lower_;
  unicode::Decomposition nfd_;
};

}  // namespace megalith

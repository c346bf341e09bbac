// Cuts a document into sentences by the Unicode rules (UAX #29, as ICU implements them).
//
// Upstream uses NLTK's Punkt, a trained model that knows abbreviations; docs/data.md tells where
// the two differ. A paragraph ends at a blank line; single line ends inside it count as spaces.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace megalith {

/// Not for several threads at once: give each its own.
class SentenceSplitter {
 public:
  /// `language` as in --lang: an English name such as "english", or a code such as "en".
  /// Throws UsageError for a name that is not known.
  SentenceSplitter(const std::string& language, bool keep_newlines);
  ~SentenceSplitter();

  /// The sentences in order, none empty. Without keep_newlines they are trimmed and hold no line
  /// end; with it they keep what follows them, and joined give the text without its trailing space.
  std::vector<std::string> split(std::string_view text);

 private:
  struct State;
  void split_paragraph(std::string_view paragraph, std::vector<std::string>& sentences);
  std::unique_ptr<State> state_;
};

}  // namespace megalith

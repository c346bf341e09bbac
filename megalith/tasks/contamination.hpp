// How much of a test set the training data hold: the paper's 8-gram overlap (section 5.3).
//
// Texts are seen as lower-cased words of letters and digits (word_stream.hpp); an 8-gram is eight
// words in a row of one text. Exact: words are numbered by the test set's dictionary, and 8-grams
// are compared as eight numbers, not by a hash. Memory grows with the test set alone; the training
// data stream through.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "megalith/tasks/report.hpp"

namespace megalith {

class NgramOverlap {
 public:
  static constexpr int64_t kWords = 8;

  /// A test file begins; its texts follow.
  void begin_test(std::string name);
  void add_test_word(std::string_view word);
  void end_test_text() { run_ = 0; }

  /// Then the training data.
  void see_train_word(std::string_view word);
  void end_train_text() { run_ = 0; }

  /// The longest word of the test set in bytes: longer ones of the training data match nothing.
  size_t longest_word() const { return longest_word_; }
  int64_t num_train_words() const { return num_train_words_; }

  struct Counts {
    int64_t ngrams = 0, found = 0;                    // every place of the test set
    int64_t distinct_ngrams = 0, distinct_found = 0;  // every different 8-gram once
    double overlap() const;
    double distinct_overlap() const;
  };
  Counts counts() const;
  /// The paper's overlap first, what it is made of, the distinct one; "files": the same for each
  /// test file.
  void add_to(Report& report) const;

 private:
  using Ngram = std::array<int32_t, kWords>;
  struct HashNgram {
    size_t operator()(const Ngram& ngram) const;
  };
  struct HashWord {
    using is_transparent = void;
    size_t operator()(std::string_view word) const { return std::hash<std::string_view>()(word); }
  };
  struct TestFile {
    std::string name;
    std::vector<int32_t> ngrams;  // numbers, in the order of the text
  };
  /// The word is the newest; true when eight stand in a row.
  bool push(int32_t word);
  Counts count(const std::vector<const TestFile*>& files) const;

  std::unordered_map<std::string, int32_t, HashWord, std::equal_to<>> dictionary_;
  std::unordered_map<Ngram, int32_t, HashNgram> numbers_;
  std::vector<bool> found_;  // by number
  std::vector<TestFile> files_;
  Ngram last_{};
  int64_t run_ = 0;  // words of the text so far that are in the dictionary
  size_t longest_word_ = 0;
  int64_t num_train_words_ = 0;
};

}  // namespace megalith

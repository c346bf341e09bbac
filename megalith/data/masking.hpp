// Which pieces of a BERT sample are hidden, and by what: whole words, one to three in a row.
//
// Promise: with the defaults the draws from the generator, and so every mask, are upstream's. The
// switches that upstream has and its BERT script does not offer are here for the golden vectors.
// Devlin et al. (2018), section 3.1; n-grams as in SpanBERT's and ALBERT's masking.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "megalith/data/numpy_random.hpp"
#include "megalith/data/word_pieces.hpp"

namespace megalith {

struct MaskingOptions {
  double probability = 0.15;
  int64_t max_ngram = 3;
  bool whole_words = true;     // a piece that starts with ## stays with the word before
  bool longer_ngrams = false;  // the longer the likelier
  bool geometric = false;      // n by a geometric distribution instead
  bool clean = false;          // ours: see --clean-masking
};

class Masking {
 public:
  Masking(std::shared_ptr<const WordPieces> pieces, const MaskingOptions& options);

  /// Hides pieces of `tokens` in place ([CLS] A [SEP] B [SEP], without padding) and writes what
  /// stood there to `labels`, of the same size, which holds kIgnoredLabel elsewhere.
  /// `target_length` is the mapping's: no more than probability x target_length are hidden.
  void apply(int64_t target_length, RandomState& random, std::span<int64_t> tokens,
             std::span<int64_t> labels) const;

 private:
  /// Candidates: word i is made of positions[starts[i]] to positions[starts[i + 1] - 1].
  struct Words {
    std::vector<int32_t> positions;
    std::vector<size_t> starts;
    int64_t count() const { return static_cast<int64_t>(starts.size()) - 1; }
    std::span<const int32_t> run(int64_t first, int64_t n) const;
  };
  Words words_in(std::span<const int64_t> tokens) const;
  double budget(int64_t target_length, size_t num_tokens) const;
  int64_t draw_ngram(RandomState& random) const;
  int64_t replacement(int64_t token, RandomState& random) const;

  std::shared_ptr<const WordPieces> pieces_;
  MaskingOptions options_;
  std::vector<double> ngram_probabilities_;  // of n = 1, 2, …
};

}  // namespace megalith

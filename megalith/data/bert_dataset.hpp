// Samples for BERT: [CLS] A [SEP] B [SEP] from neighbouring sentences, in order or swapped, some
// pieces hidden.
//
// Which sentences is bert_index.hpp's, which pieces masking.hpp's, blends are
// blended_dataset.hpp's. Promise: sample k draws from RandomState((seed + k) mod 2^32) exactly as
// upstream does, so the samples are upstream's; a pad id other than 0, with which upstream's masks
// are unusable, gives types and padding masks of 0 all the same.
#pragma once

#include <memory>

#include "megalith/data/bert_index.hpp"
#include "megalith/data/dataset.hpp"
#include "megalith/data/masking.hpp"
#include "megalith/data/token_source.hpp"

namespace megalith {

struct BertIndex {
  BertSurvey survey;
  IntegerArray mapping;  // [samples, 3], bert_index.hpp's
};

class BertDataset final : public Dataset {
 public:
  /// `request` is what `index` was built by. Without `pieces` samples are counted, not made.
  BertDataset(std::shared_ptr<const TokenSource> source, BertIndex index,
              const BertIndexRequest& request, std::shared_ptr<const WordPieces> pieces,
              const MaskingOptions& masking);

  int64_t num_samples() const override { return index_.mapping.size() / 3; }
  /// Throws UsageError naming the sentence for an id that the vocabulary does not have.
  Sample sample(int64_t k) const override;
  std::string place(int64_t k, int64_t position) const override;
  int64_t tokens_per_epoch() const override { return index_.survey.used_tokens; }
  /// A sample is padded, never repeated.
  int64_t min_tokens() const override { return 1; }
  std::string summary() const override;

  const BertIndex& index() const { return index_; }

 private:
  /// The tokens of sentences [first, end), cut down to `length` from `skip` on.
  struct Part {
    int64_t first = 0, end = 0, skip = 0, length = 0;
  };
  /// What a sample is made of, before anything is hidden.
  struct Plan {
    Part a, b;  // in the order of the sample
    int64_t target_length = 0;
    bool swapped = false, truncated = false;
  };
  RandomState generator(int64_t k) const;
  Plan plan(int64_t k, RandomState& random) const;
  Part whole(int64_t first, int64_t end) const;
  void append(const Part& part, std::vector<int64_t>& tokens) const;
  std::string place_in(const Part& part, int64_t offset) const;

  std::shared_ptr<const TokenSource> source_;
  BertIndex index_;
  BertIndexRequest request_;
  std::shared_ptr<const WordPieces> pieces_;
  std::optional<Masking> masking_;
};

}  // namespace megalith

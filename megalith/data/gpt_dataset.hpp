// Samples of a GPT dataset: windows over shuffled documents, with labels, masks and positions.
//
// The order is gpt_index.hpp's, blends are blended_dataset.hpp's. Promise: the samples equal
// upstream's, except that every sample has a loss mask of its own (upstream may share one between
// all samples and let padding of one leak into the others) and that the attention mask is told as
// segment numbers instead of a square.
#pragma once

#include <memory>
#include <optional>

#include "megalith/data/dataset.hpp"
#include "megalith/data/gpt_index.hpp"
#include "megalith/data/token_source.hpp"

namespace megalith {

struct GptSampleOptions {
  int64_t sequence_length = 0;
  bool add_extra_token = true;
  bool reset_position_ids = false;    // positions restart after each end of document
  bool reset_attention_mask = false;  // attention stops at each end of document
  bool eod_mask_loss = false;         // no loss where the input is the end of a document
  std::optional<int64_t> eod = {};
  std::optional<int64_t> pad = {};  // counts as none where it equals eod
};

class GptDataset final : public Dataset {
 public:
  /// Throws std::invalid_argument when an option needs `eod` and it is missing.
  GptDataset(std::shared_ptr<const TokenSource> source, GptIndex index, GptSampleOptions options);

  int64_t num_samples() const override { return index_.plan.num_samples; }
  Sample sample(int64_t k) const override;
  std::string place(int64_t k, int64_t position) const override;
  int64_t tokens_per_epoch() const override { return index_.plan.tokens_per_epoch; }
  int64_t min_tokens() const override { return window_size(); }
  std::string summary() const override;

  /// A run of tokens inside one sequence.
  struct Piece {
    int64_t sequence, offset, length;
  };
  /// The pieces that sample k is made of, in order.
  std::vector<Piece> pieces(int64_t k) const;
  /// The raw tokens of sample k, padding included: sequence-length, and one with the extra token.
  std::vector<int64_t> window(int64_t k) const;

  const GptIndex& index() const { return index_; }
  const TokenSource& source() const { return *source_; }

 private:
  int64_t window_size() const;
  void mark_documents(Sample& sample) const;

  std::shared_ptr<const TokenSource> source_;
  GptIndex index_;
  GptSampleOptions options_;
  int64_t pad_;
};

}  // namespace megalith

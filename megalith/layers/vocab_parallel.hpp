// The vocabulary split over the tensor group: embedding, tied logits and cross entropy (section 3).
//
// Logits stay split; the loss costs three all-reduces of one number a token. The vocabulary is
// padded so that it divides; padding rows are zero, get no gradient, and the loss and
// gather_logits() pass over their logits, which is what -infinity would do.
#pragma once

#include <ATen/core/Tensor.h>

#include "megalith/parallel/parameter.hpp"
#include "megalith/parallel/process_groups.hpp"

namespace megalith {

/// Which ids this rank's rows of a padded vocabulary stand for.
struct VocabRange {
  int64_t first = 0;  // id of local row 0
  int64_t rows = 0;   // local rows, padding included
  int64_t valid = 0;  // local rows that are real ids
};

VocabRange vocab_range(int64_t vocab_size, int64_t padded_vocab_size, const Group& tensor);

class VocabParallelEmbedding {
 public:
  VocabParallelEmbedding(const ParameterBuilder& parameters, const std::string& name,
                         int64_t vocab_size, int64_t padded_vocab_size, int64_t hidden_size,
                         Init init, const Group& tensor);
  /// ids [S, B] -> [S, B, H]. Communicates: tensor, forward.
  at::Tensor forward(const at::Tensor& ids) const;
  const at::Tensor& weight() const { return weight_; }

 private:
  Group tensor_;
  VocabRange range_;
  at::Tensor weight_;
};

/// Rows of `weight` [V, H] by id: ids [...] -> [..., H]. For learned positions too.
at::Tensor embedding_lookup(const at::Tensor& weight, const at::Tensor& ids);

/// hidden [S, B, H] times the rows of `weight` [V/t, H] -> logits [S, B, V/t], columns of padding
/// included. Communicates: tensor, backward.
at::Tensor vocab_parallel_logits(const at::Tensor& hidden, const at::Tensor& weight,
                                 const Group& tensor);

/// Cross entropy of each token: logits [S, B, V/t], targets [S, B] of global ids -> [S, B] in fp32
/// (or double). Backward puts the gradient where the logits were: they are not to be used again.
/// Communicates: tensor, forward, three all-reduces of S·B numbers; nothing in backward.
at::Tensor vocab_parallel_cross_entropy(const at::Tensor& logits, const at::Tensor& targets,
                                        const VocabRange& range, const Group& tensor);

/// The id of the largest logit, of equals the lowest: logits [..., V/t] -> [...] int64. Padding
/// never wins. Communicates: tensor, two all-reduces of one number a row.
at::Tensor vocab_parallel_argmax(const at::Tensor& logits, const VocabRange& range,
                                 const Group& tensor);

/// The slices put together: logits [..., V/t] -> [..., V] without padding. For sampling, under
/// no_grad. Communicates: tensor.
at::Tensor gather_logits(const at::Tensor& logits, int64_t vocab_size, const Group& tensor);

}  // namespace megalith

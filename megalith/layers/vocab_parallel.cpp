#include "megalith/layers/vocab_parallel.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>

#include "megalith/layers/parallel_linear.hpp"
#include "megalith/ops/cross_entropy.hpp"
#include "megalith/ops/embedding.hpp"
#include "megalith/parallel/collectives.hpp"
#include "megalith/parallel/mappings.hpp"

namespace megalith {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct VocabParallelCrossEntropy : Function<VocabParallelCrossEntropy> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& logits,
                            const at::Tensor& targets, const VocabRange& range,
                            const Group& tensor) {
    const at::Tensor flat = logits.reshape({-1, logits.size(-1)});
    const at::Tensor flat_targets = targets.reshape({-1});
    at::Tensor maximum = ops::row_max(flat, range.valid);
    all_reduce(maximum, tensor, Reduction::kMax);
    at::Tensor target = ops::target_logits(flat, flat_targets, range.first, range.valid, maximum);
    all_reduce(target, tensor);
    at::Tensor sums = ops::exponential_sums(flat, maximum, range.valid);
    all_reduce(sums, tensor);
    context->save_for_backward({flat, maximum, sums, flat_targets});
    context->saved_data["first"] = range.first;
    context->saved_data["valid"] = range.valid;
    return (sums.log() - target).view(targets.sizes());
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    at::Tensor gradient = saved[0].detach();  // the logits are not needed again
    ops::cross_entropy_gradient_(gradient, saved[1], saved[2], saved[3],
                                 context->saved_data["first"].toInt(),
                                 context->saved_data["valid"].toInt(), gradients[0].reshape({-1}));
    auto shape = gradients[0].sizes().vec();
    shape.push_back(gradient.size(-1));
    return {gradient.view(shape), {}, {}, {}};
  }
};

/// Rows of `weight` by id. The gradient goes straight to the rows of the parameter's, if it holds
/// one; as a tensor of its own it would be as large as the whole vocabulary.
struct Embedding : Function<Embedding> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight,
                            const at::Tensor& ids) {
    context->save_for_backward({weight, ids});
    return at::embedding(weight, ids);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    at::Tensor gradient = main_gradient(saved[0]);
    if (gradient.defined()) {
      ops::add_embedding_gradient(gradient, gradients[0], saved[1]);
      return {at::Tensor(), at::Tensor()};
    }
    return {at::embedding_dense_backward(gradients[0], saved[1], saved[0].size(0), -1, false),
            at::Tensor()};
  }
};

}  // namespace

VocabRange vocab_range(int64_t vocab_size, int64_t padded_vocab_size, const Group& tensor) {
  VocabRange range;
  range.rows = padded_vocab_size / tensor.size();
  range.first = tensor.rank * range.rows;
  range.valid = std::clamp<int64_t>(vocab_size - range.first, 0, range.rows);
  return range;
}

VocabParallelEmbedding::VocabParallelEmbedding(const ParameterBuilder& parameters,
                                               const std::string& name, int64_t vocab_size,
                                               int64_t padded_vocab_size, int64_t hidden_size,
                                               Init init, const Group& tensor)
    : tensor_(tensor),
      range_(vocab_range(vocab_size, padded_vocab_size, tensor)),
      weight_(parameters.vocabulary(name + ".weight", vocab_size, padded_vocab_size, hidden_size,
                                    init)) {}

at::Tensor VocabParallelEmbedding::forward(const at::Tensor& ids) const {
  if (tensor_.size() == 1) return embedding_lookup(weight_, ids);
  const at::Tensor outside = ids.lt(range_.first).logical_or_(ids.ge(range_.first + range_.valid));
  const at::Tensor local_ids = (ids - range_.first).masked_fill_(outside, 0);
  const at::Tensor rows =
      embedding_lookup(weight_, local_ids).masked_fill(outside.unsqueeze(-1), 0);
  return reduce_from_tensor_region(rows, tensor_);  // [S, B, H]
}

at::Tensor embedding_lookup(const at::Tensor& weight, const at::Tensor& ids) {
  return Embedding::apply(weight, ids);
}

at::Tensor vocab_parallel_logits(const at::Tensor& hidden, const at::Tensor& weight,
                                 const Group& tensor) {
  return column_parallel_linear(hidden, weight, {}, tensor);  // [S, B, V/t]
}

at::Tensor vocab_parallel_cross_entropy(const at::Tensor& logits, const at::Tensor& targets,
                                        const VocabRange& range, const Group& tensor) {
  return VocabParallelCrossEntropy::apply(logits, targets, range, tensor);
}

at::Tensor vocab_parallel_argmax(const at::Tensor& logits, const VocabRange& range,
                                 const Group& tensor) {
  const auto exact = logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto rows = logits.sizes().slice(0, logits.dim() - 1);
  at::Tensor best =
      at::full(rows, -std::numeric_limits<double>::infinity(), logits.options().dtype(exact));
  at::Tensor ids = at::zeros(rows, logits.options().dtype(at::kLong));
  if (range.valid > 0) {
    const auto [value, column] = logits.narrow(-1, 0, range.valid).max(-1);
    best = value.to(exact).contiguous();
    ids = column + range.first;
  }
  if (tensor.size() == 1) return ids;
  const at::Tensor own = best.clone();
  all_reduce(best, tensor, Reduction::kMax);
  ids.masked_fill_(own.ne(best), std::numeric_limits<int64_t>::max());
  all_reduce(ids, tensor, Reduction::kMin);
  return ids;
}

at::Tensor gather_logits(const at::Tensor& logits, int64_t vocab_size, const Group& tensor) {
  const at::Tensor slices = all_gather(logits, tensor);  // [t, ..., V/t]
  std::vector<at::Tensor> parts;
  for (int64_t r = 0; r < tensor.size(); ++r) parts.push_back(slices[r]);
  return at::cat(parts, -1).narrow(-1, 0, vocab_size);
}

}  // namespace megalith

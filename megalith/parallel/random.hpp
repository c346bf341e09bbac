// All randomness of a run, as functions of keys.
//
// Initial weights: element i of the global tensor "name" is a function of (seed, name, i) by the
// counter-based generator Philox, so each rank computes only its slice and every layout starts from
// the same model. Run time (the paper's appendix B.2): a stream is a key, not a running state.
// Dropout on replicated activations has the same key on all ranks of a tensor group; inside the
// tensor-parallel region the key holds the tensor rank. Recompute and restarts therefore restore
// nothing.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "megalith/parallel/shard_spec.hpp"

namespace megalith {

/// Where in a layer a stream is drawn.
enum class RandomSite : int64_t { kEmbedding, kAttention, kAttentionOutput, kMlpOutput, kHead };

/// The key of everything drawn in one forward of one micro-batch on one rank.
struct StepKey {
  int64_t seed = 0;
  int64_t iteration = 0;
  int64_t micro_batch = 0;
  int64_t data_rank = 0;  // position in data x context
  int64_t tensor_rank = 0;
};

/// A generator for a site whose activations are the same on every tensor rank.
at::Generator shared_generator(const StepKey& key, int64_t layer, RandomSite site,
                               at::Device device);
/// A generator of one's own for each tensor rank, for activations that are split.
at::Generator own_generator(const StepKey& key, int64_t layer, RandomSite site, at::Device device);

/// 64 well-mixed bits of the words, the same on every machine.
uint64_t mix_key(std::initializer_list<int64_t> words);

/// Fills `local` ([rows, ...], any floating dtype, contiguous, on the CPU) with the box's elements
/// of N(0, std²) drawn for (seed, box.name, element index in the global tensor).
void fill_normal(at::Tensor& local, const Box& box, int64_t seed, double std);

/// A uniform double in [0, 1) that depends on the words only.
double keyed_uniform(std::initializer_list<int64_t> words);

}  // namespace megalith

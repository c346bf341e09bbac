// Continues prompts with a model: batches of prompts of different lengths, a key/value cache, many
// samples a prompt.
//
// Prompts and results are token ids; text is the caller's (cli/generate). Which token comes next is
// sampling.hpp's. Rows of a batch are filled up on the right and hidden from each other, so that a
// row's tokens depend on its prompt, the weights and the sampling configuration, not on its
// company, the cache, or the layout (while no decision is as close as rounding).
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "megalith/generation/sampling.hpp"
#include "megalith/models/gpt.hpp"
#include "megalith/parallel/process_groups.hpp"

namespace megalith {

using TokenIds = std::vector<int32_t>;

struct GenerateOptions {
  int64_t micro_batch_size = 8;
  bool no_cache = false;
  std::optional<int32_t> end_of_text = std::nullopt;  // from the tokenizer; no flag
  /// Only ids below it are generated: an imported model may have more ids than its tokenizer.
  std::optional<int64_t> num_ids = std::nullopt;

  FieldList fields();
};

struct Continuation {
  int64_t prompt = 0;  // index into the prompts
  int64_t sample = 0;
  TokenIds tokens;     // the new ones, without the end-of-text
  bool ended = false;  // by end-of-text, before max_new_tokens
};

/// Called after every new token of a row, on the ranks that generate the row.
using TokenCallback = std::function<void(const Continuation&)>;

/// Prompts too long for the model, ids outside its vocabulary, an empty prompt without end-of-text.
void check_prompts(const ModelConfig& model, const std::vector<TokenIds>& prompts,
                   const SamplingConfig& sampling, const GenerateOptions& options,
                   Problems& problems);

/// num_samples continuations of every prompt, ordered by prompt, then sample; all of them on every
/// rank. Data rank r takes the prompts r, r + data size, and so on. An empty prompt continues the
/// end-of-text. Throws UsageError as check_prompts.
/// Communicates: tensor and data, every rank must call with the same arguments.
std::vector<Continuation> generate(const GptModel& model, const ProcessGroups& groups,
                                   const std::vector<TokenIds>& prompts,
                                   const SamplingConfig& sampling, const GenerateOptions& options,
                                   const TokenCallback& on_token = {});

}  // namespace megalith

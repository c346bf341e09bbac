#include "megalith/generation/generator.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "megalith/layers/vocab_parallel.hpp"
#include "megalith/parallel/collectives.hpp"

namespace megalith {
namespace {

int64_t ssize(const TokenIds& ids) { return static_cast<int64_t>(ids.size()); }

/// A prompt being continued.
struct Row {
  Continuation continuation;
  TokenIds tokens;  // prompt and continuation: what the model sees
  int64_t key = 0;
  int64_t max_new_tokens = 0;
  bool done = false;
};

/// What one forward takes in: of each row some tokens at their positions, filled up on the right.
struct Window {
  at::Tensor tokens;     // [B, S]
  at::Tensor positions;  // [B, S]
  at::Tensor last;       // [B]: column of each row's last real token
};

/// Rows that go through the model together.
class Batch {
 public:
  Batch(const GptModel& model, const ProcessGroups& groups, const SamplingConfig& sampling,
        const GenerateOptions& options, std::vector<Row> rows)
      : model_(model),
        groups_(groups),
        sampling_(sampling),
        options_(options),
        rows_(std::move(rows)) {
    if (!options.no_cache) make_caches();
  }

  void run(const TokenCallback& on_token) {
    while (std::any_of(rows_.begin(), rows_.end(), [](const Row& row) { return !row.done; })) {
      const std::vector<int64_t> next = pick(next_logits());
      for (size_t i = 0; i < rows_.size(); ++i) append(rows_[i], next[i], on_token);
    }
  }
  const std::vector<Row>& rows() const { return rows_; }

 private:
  int64_t size() const { return static_cast<int64_t>(rows_.size()); }

  void make_caches() {
    const ModelConfig& config = model_.config();
    int64_t longest = 0;
    for (const auto& row : rows_) {
      longest = std::max(longest, ssize(row.tokens) + row.max_new_tokens);
    }
    // Zeros, because hidden places still enter products with probability 0.
    const auto zeros = [&] {
      return at::zeros({longest, size(), config.num_query_groups() / groups_.tensor().size(),
                        config.head_size()},
                       at::TensorOptions().dtype(model_.dtype()).device(model_.device()));
    };
    for (int64_t layer = 0; layer < config.num_layers; ++layer) {
      caches_.push_back({zeros(), zeros()});
    }
  }

  /// Everything at first or without a cache, afterwards each row's newest token. A finished row
  /// goes along at its last place; nobody looks at it.
  Window window() const {
    const bool newest_only = prefilled_;
    int64_t width = 1;
    for (const auto& row : rows_) {
      if (!newest_only) width = std::max(width, ssize(row.tokens));
    }
    Window window{at::zeros({size(), width}, at::kLong), at::zeros({size(), width}, at::kLong),
                  at::zeros({size()}, at::kLong)};
    auto tokens = window.tokens.accessor<int64_t, 2>();
    auto positions = window.positions.accessor<int64_t, 2>();
    auto last = window.last.accessor<int64_t, 1>();
    for (int64_t i = 0; i < size(); ++i) {
      const TokenIds& ids = rows_[i].tokens;
      const int64_t first = newest_only ? ssize(ids) - 1 : 0;
      last[i] = ssize(ids) - 1 - first;
      for (int64_t j = 0; j < width; ++j) {
        positions[i][j] = first + j;
        if (j <= last[i]) tokens[i][j] = ids[first + j];
      }
    }
    const at::Device device = model_.device();
    return {window.tokens.to(device), window.positions.to(device), window.last.to(device)};
  }

  /// Of the caches what has been written, and which of it each new token may see.
  void use_caches(LayerContext& context, std::vector<KeyValueCache>& written,
                  const at::Tensor& positions) const {
    const int64_t length = positions.max().item<int64_t>() + 1;
    for (const auto& cache : caches_) {
      written.push_back({cache.keys.narrow(0, 0, length), cache.values.narrow(0, 0, length)});
    }
    context.caches = &written;
    context.cache_positions = positions.t().contiguous();  // [S, B]
    const at::Tensor places = at::arange(length, positions.options());
    context.visible = places.le(positions.unsqueeze(-1)).unsqueeze(1);  // [B, 1, S, Sk]
  }

  /// Logits of the token after each row's last: [B, V] in double on the CPU. Communicates: tensor.
  at::Tensor next_logits() {
    const Window input = window();
    LayerContext context;
    std::vector<KeyValueCache> written;
    if (!options_.no_cache) use_caches(context, written, input.positions);
    const at::Tensor hidden = model_.hidden_states(
        {.tokens = input.tokens, .position_ids = input.positions, .segments = {}}, context);
    prefilled_ = !options_.no_cache;
    const at::Tensor column = at::arange(size(), input.last.options());
    const at::Tensor ends = hidden.index({input.last, column}).unsqueeze(0);  // [1, B, H]
    const int64_t vocabulary = model_.config().vocab_size;
    const int64_t num_ids = std::min(options_.num_ids.value_or(vocabulary), vocabulary);
    const at::Tensor logits =
        gather_logits(model_.logits(ends), vocabulary, groups_.tensor()).narrow(-1, 0, num_ids);
    return logits.squeeze(0).to(at::kDouble).cpu().contiguous();  // [B, V]
  }

  /// One token a row; 0 for finished ones. Communicates: tensor.
  std::vector<int64_t> pick(const at::Tensor& logits) const {
    at::Tensor next = at::zeros({size()}, at::kLong);
    auto picked = next.accessor<int64_t, 1>();
    const auto vocabulary = static_cast<size_t>(logits.size(1));
    for (int64_t i = 0; i < size(); ++i) {
      const Row& row = rows_[i];
      if (row.done) continue;
      picked[i] = pick_token({logits[i].const_data_ptr<double>(), vocabulary}, sampling_,
                             {row.key, row.continuation.sample, ssize(row.tokens)});
    }
    // The slices of the logits are the same on every tensor rank; this makes sure of it.
    next = next.to(model_.device());
    broadcast(next, groups_.tensor(), 0);
    next = next.cpu();
    return {next.const_data_ptr<int64_t>(), next.const_data_ptr<int64_t>() + size()};
  }

  void append(Row& row, int64_t token, const TokenCallback& on_token) const {
    if (row.done) return;
    const auto id = static_cast<int32_t>(token);
    Continuation& continuation = row.continuation;
    continuation.ended = options_.end_of_text == id;
    if (!continuation.ended) {
      row.tokens.push_back(id);
      continuation.tokens.push_back(id);
      if (on_token) on_token(continuation);
    }
    row.done = continuation.ended || ssize(continuation.tokens) == row.max_new_tokens;
  }

  const GptModel& model_;
  const ProcessGroups& groups_;
  const SamplingConfig& sampling_;
  const GenerateOptions& options_;
  std::vector<Row> rows_;
  std::vector<KeyValueCache> caches_;
  bool prefilled_ = false;
};

/// The rows of one data rank, prompt by prompt.
std::vector<Row> rows_of(const std::vector<TokenIds>& prompts, const ModelConfig& model,
                         const SamplingConfig& sampling, const GenerateOptions& options,
                         int64_t data_rank, int64_t data_size) {
  std::vector<Row> rows;
  for (int64_t i = data_rank; i < static_cast<int64_t>(prompts.size()); i += data_size) {
    TokenIds tokens = prompts[i];
    if (tokens.empty()) tokens.push_back(*options.end_of_text);
    for (int64_t sample = 0; sample < sampling.num_samples; ++sample) {
      rows.push_back({.continuation = {.prompt = i, .sample = sample, .tokens = {}},
                      .tokens = tokens,
                      .key = prompt_key(prompts[i]),
                      .max_new_tokens =
                          sampling.new_tokens_after(ssize(tokens), model.max_position_embeddings)});
    }
  }
  return rows;
}

/// The rows' results as numbers, one line a row: ended or not, how many tokens, the tokens.
at::Tensor pack(const std::vector<Row>& rows, int64_t num_lines, int64_t max_new_tokens) {
  at::Tensor packed = at::zeros({num_lines, max_new_tokens + 2}, at::kLong);
  auto line = packed.accessor<int64_t, 2>();
  for (size_t i = 0; i < rows.size(); ++i) {
    const Continuation& continuation = rows[i].continuation;
    line[i][0] = continuation.ended ? 1 : 0;
    line[i][1] = ssize(continuation.tokens);
    for (int64_t j = 0; j < line[i][1]; ++j) line[i][2 + j] = continuation.tokens[j];
  }
  return packed;
}

void unpack(const at::Tensor& packed, std::span<Row> rows) {
  const auto line = packed.accessor<int64_t, 2>();
  for (size_t i = 0; i < rows.size(); ++i) {
    Continuation& continuation = rows[i].continuation;
    continuation.ended = line[i][0] != 0;
    for (int64_t j = 0; j < line[i][1]; ++j) {
      continuation.tokens.push_back(static_cast<int32_t>(line[i][2 + j]));
    }
  }
}

/// The part of `rows` that goes through the model in round `round`.
std::span<Row> round_of(std::vector<Row>& rows, int64_t round, int64_t micro_batch_size) {
  const auto count = static_cast<int64_t>(rows.size());
  const int64_t first = std::min(count, round * micro_batch_size);
  const int64_t last = std::min(count, first + micro_batch_size);
  return std::span(rows).subspan(static_cast<size_t>(first), static_cast<size_t>(last - first));
}

}  // namespace

FieldList GenerateOptions::fields() {
  return {
      {"micro-batch-size", &micro_batch_size,
       "Continuations that go through the model together on each data rank.", at_least(1)},
      {"no-cache", &no_cache,
       "Compute the whole sequence again for every token instead of keeping keys and values: slow, "
       "with the same text."},
  };
}

void check_prompts(const ModelConfig& model, const std::vector<TokenIds>& prompts,
                   const SamplingConfig& sampling, const GenerateOptions& options,
                   Problems& problems) {
  for (size_t i = 0; i < prompts.size(); ++i) {
    const TokenIds& ids = prompts[i];
    if (ids.empty() && !options.end_of_text) {
      problems.add(
          "prompt {} is empty, and the vocabulary has no end-of-text token to start from; give a "
          "text",
          i + 1);
    }
    const int64_t length = std::max<int64_t>(1, ssize(ids));
    const int64_t positions = model.max_position_embeddings;
    if (length >= positions) {
      problems.add("prompt {} has {} tokens, and the model has {} positions: shorten the prompt",
                   i + 1, length, positions);
    } else if (length + sampling.new_tokens_after(length, positions) > positions) {
      problems.add(
          "prompt {} has {} tokens; with --max-new-tokens {} that makes {}, and the model has {} "
          "positions: ask for at most {} new tokens, or shorten the prompt",
          i + 1, length, *sampling.max_new_tokens, length + *sampling.max_new_tokens, positions,
          positions - length);
    }
    for (const int32_t id : ids) {
      if (id >= 0 && id < model.vocab_size) continue;
      problems.add("prompt {} holds the token {}, and the model knows the tokens 0 to {}", i + 1,
                   id, model.vocab_size - 1);
      break;
    }
  }
}

std::vector<Continuation> generate(const GptModel& model, const ProcessGroups& groups,
                                   const std::vector<TokenIds>& prompts,
                                   const SamplingConfig& sampling, const GenerateOptions& options,
                                   const TokenCallback& on_token) {
  Problems problems;
  check_prompts(model.config(), prompts, sampling, options, problems);
  problems.raise_if_any();
  const at::NoGradGuard no_gradients;
  const Group& data = groups.data();
  std::vector<std::vector<Row>> rows;  // of every data rank: each knows what the others do
  for (int64_t rank = 0; rank < data.size(); ++rank) {
    rows.push_back(rows_of(prompts, model.config(), sampling, options, rank, data.size()));
  }
  // Data rank 0 has the most. Results are exchanged after each round, so that nobody waits long.
  const int64_t round_size = options.micro_batch_size;
  const int64_t num_rounds = (static_cast<int64_t>(rows[0].size()) + round_size - 1) / round_size;
  for (int64_t round = 0; round < num_rounds; ++round) {
    const auto mine = round_of(rows[data.rank], round, round_size);
    Batch batch(model, groups, sampling, options, {mine.begin(), mine.end()});
    if (!mine.empty()) batch.run(on_token);
    const at::Tensor packed = pack(batch.rows(), round_size, sampling.most_new_tokens());
    const at::Tensor all = all_gather(packed.to(model.device()), data).cpu();
    for (int64_t rank = 0; rank < data.size(); ++rank) {
      unpack(all[rank], round_of(rows[rank], round, round_size));
    }
  }
  std::vector<Continuation> results;
  for (int64_t i = 0; i < static_cast<int64_t>(prompts.size()); ++i) {
    const auto first = rows[i % data.size()].begin() + i / data.size() * sampling.num_samples;
    for (auto row = first; row != first + sampling.num_samples; ++row) {
      results.push_back(std::move(row->continuation));
    }
  }
  return results;
}

}  // namespace megalith

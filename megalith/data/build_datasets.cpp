#include "megalith/data/build_datasets.hpp"

#include <filesystem>
#include <sstream>
#include <stdexcept>

#include "megalith/core/atomic_file.hpp"
#include "megalith/data/blended_dataset.hpp"
#include "megalith/data/gpt_dataset.hpp"

namespace megalith {
namespace {

size_t position(Split split) { return static_cast<size_t>(split); }

/// Words of a file that holds what would stand after --data-path.
std::vector<std::string> words_of_file(const std::string& path) {
  std::istringstream in(read_text_file(path));
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  if (words.empty()) throw UsageError("--data-args-path {}: the file holds no word", path);
  return words;
}

/// Builds the datasets of one run; a class only to share what every step needs.
class DatasetBuilder {
 public:
  DatasetBuilder(const DataConfig& config, const DatasetRequest& request)
      : config_(config), request_(request) {
    if (!config_.per_split()) {
      split_text_ = config_.split_text();
      matrix_ = split_matrix(parse_split(*split_text_));
    }
  }

  Datasets build() {
    Datasets datasets;
    if (config_.per_split()) {
      for (const Split split : kSplits) build_per_split(datasets, split);
      return datasets;
    }
    const Opened data = open_common();
    for (const Split split : kSplits) {
      if (!request_.wanted[position(split)]) continue;
      if (!matrix_[position(split)]) {
        refuse_or_note_absent(split);
        continue;
      }
      datasets.of(split) = build_split(data, split, *matrix_[position(split)]);
    }
    return datasets;
  }

 private:
  struct Opened {
    Blend blend;
    std::vector<std::shared_ptr<const TokenSource>> sources;
  };

  Opened open(const std::vector<std::string>& words, const std::string& flag) const {
    Opened opened{parse_blend(words, flag), {}};
    for (const auto& prefix : opened.blend.prefixes) {
      opened.sources.push_back(open_indexed_tokens(prefix));
    }
    return opened;
  }

  Opened open_common() const {
    if (config_.mock_data) {
      auto tokens = make_mock_tokens(request_.vocab_size, request_.eod);
      return {{{tokens->name()}, std::nullopt}, {tokens}};
    }
    if (config_.data_args_path) {
      return open(words_of_file(*config_.data_args_path), "data-args-path");
    }
    return open(config_.data_path, "data-path");
  }

  void build_per_split(Datasets& datasets, Split split) const {
    if (!request_.wanted[position(split)]) return;
    const auto& words = config_.path_of(split);
    if (words.empty()) {
      refuse_or_note_absent(split);
      return;
    }
    const auto flag = fmt::format("{}-data-path", split_name(split));
    datasets.of(split) = build_split(open(words, flag), split, {0.0, 1.0});
  }

  /// A share of 0 switches an evaluation off; training cannot be switched off.
  void refuse_or_note_absent(Split split) const {
    const std::string why = split_text_
                                ? fmt::format("--split '{}' gives it no share", *split_text_)
                                : fmt::format("there is no --{}-data-path", split_name(split));
    if (split == Split::kTrain && request_.samples.train > 0) {
      throw UsageError("{} samples are asked of the training data, but {}", request_.samples.train,
                       why);
    }
    note(fmt::format("no {} data: {}", split_name(split), why));
  }

  std::shared_ptr<const Dataset> build_split(const Opened& data, Split split,
                                             std::pair<double, double> bounds) const {
    const int64_t size = request_.samples.of(split);
    if (data.blend.single()) {
      auto dataset = gpt_dataset(data, 0, split, bounds, size);
      if (dataset->tokens_per_epoch() > 0) return dataset;
      note(fmt::format("no {} data: {} has no token for its share, and none is asked for",
                       split_name(split), data.sources[0]->name()));
      return nullptr;
    }
    return data.blend.weights ? weighted(data, split, bounds, size)
                              : unweighted(data, split, bounds, size);
  }

  std::shared_ptr<const Dataset> weighted(const Opened& data, Split split,
                                          std::pair<double, double> bounds, int64_t target) const {
    const std::vector<double> shares = normalized(*data.blend.weights);
    std::vector<int64_t> asked;
    int64_t size = 0;
    for (const double share : shares) {
      size += planned_samples(target, share);
      asked.push_back(samples_to_ask(target, share));
    }
    const std::vector<double> weights = normalized(shares);
    const auto build = [&] { return blend_by_weight(weights, size); };
    std::vector<GptDescription> descriptions;
    for (size_t i = 0; i < asked.size(); ++i) {
      descriptions.push_back(describe(data, i, split, asked[i]));
    }
    BlendIndex index = blend_index(descriptions, split, weights, size, build);
    const auto drawn = blend_counts(index, asked.size());
    std::vector<std::shared_ptr<const Dataset>> children;
    for (size_t i = 0; i < asked.size(); ++i) {
      auto child = gpt_dataset(data, i, split, bounds, asked[i]);
      // Rounding may draw more than the surplus allows for; upstream gives up here.
      if (child->num_samples() < drawn[i]) child = gpt_dataset(data, i, split, bounds, drawn[i]);
      children.push_back(std::move(child));
    }
    return std::make_shared<BlendedDataset>(std::move(children), std::move(index));
  }

  std::shared_ptr<const Dataset> unweighted(const Opened& data, Split split,
                                            std::pair<double, double> bounds,
                                            int64_t target) const {
    std::vector<std::shared_ptr<const Dataset>> children;
    std::vector<GptDescription> descriptions;
    std::vector<double> lengths;
    for (size_t i = 0; i < data.sources.size(); ++i) {
      auto child = gpt_dataset(data, i, split, bounds, std::nullopt);
      if (child->num_samples() == 0) {
        note(fmt::format("{}: its {} share holds no whole sample and is left out of the blend",
                         data.sources[i]->name(), split_name(split)));
        continue;
      }
      lengths.push_back(static_cast<double>(child->num_samples()));
      descriptions.push_back(describe(data, i, split, std::nullopt));
      children.push_back(std::move(child));
    }
    if (children.empty()) {
      if (target == 0) return nullptr;
      throw UsageError("{} samples are asked of the {} data, but none of the {} datasets holds one",
                       target, split_name(split), data.sources.size());
    }
    const auto size = std::min(target, static_cast<int64_t>(numpy_sum(lengths)));
    const std::vector<double> weights = normalized(normalized(lengths));
    BlendIndex index = blend_index(descriptions, split, weights, size,
                                   [&] { return blend_by_weight(weights, size); });
    return std::make_shared<BlendedDataset>(std::move(children), std::move(index));
  }

  /// Blends are cached only in a folder that the user names, as upstream does.
  BlendIndex blend_index(const std::vector<GptDescription>& children, Split split,
                         const std::vector<double>& weights, int64_t size,
                         const std::function<BlendIndex()>& build) const {
    std::optional<IndexCache> cache;
    if (config_.data_cache_path) {
      cache.emplace(*config_.data_cache_path, "BlendedDataset", split,
                    blend_description_text(children, split, weights, size), "{}");
    }
    auto arrays = load_or_build(
        cache ? &*cache : nullptr, request_.role, {"dataset_index", "dataset_sample_index"},
        [&] {
          BlendIndex index = build();
          return std::vector<IntegerArray>{index.dataset, index.sample};
        },
        request_.notice);
    return {arrays[0], arrays[1]};
  }

  GptDescription describe(const Opened& data, size_t child, Split split,
                          std::optional<int64_t> num_samples) const {
    return {.dataset_path = data.sources[child]->name(),
            .num_samples = num_samples,
            .split = split,
            .seed = request_.seed,
            .sequence_length = request_.sequence_length,
            .split_text = split_text_,
            .matrix = matrix_,
            .tokenizer_json = request_.tokenizer_json};
  }

  Interval interval_of(const TokenSource& source, std::pair<double, double> bounds) const {
    return split_interval(bounds, static_cast<int64_t>(source.sequence_lengths().size()));
  }

  std::shared_ptr<const GptDataset> gpt_dataset(const Opened& data, size_t child, Split split,
                                                std::pair<double, double> bounds,
                                                std::optional<int64_t> num_samples) const {
    const TokenSource& source = *data.sources[child];
    const Interval interval = interval_of(source, bounds);
    const auto lengths = source.sequence_lengths();
    const int64_t tokens = count_tokens(lengths, interval);
    if (tokens == 0 && num_samples.value_or(0) > 0) refuse_empty(source, split, *num_samples);
    const GptIndexRequest wanted{.sequence_length = request_.sequence_length,
                                 .num_samples = num_samples,
                                 .seed = request_.seed};
    std::optional<IndexCache> cache;
    if (tokens > 0 && !config_.mock_data) {
      cache.emplace(cache_folder(source), "GPTDataset", split,
                    gpt_description_text(describe(data, child, split, num_samples)),
                    gpt_fingerprint(lengths, interval, wanted));
    }
    auto arrays = load_or_build(
        cache ? &*cache : nullptr, request_.role,
        {"document_index", "sample_index", "shuffle_index"},
        [&] {
          GptIndex built = build_gpt_index(lengths, interval, wanted);
          return std::vector<IntegerArray>{built.documents, built.samples, built.shuffle};
        },
        request_.notice);
    GptIndex index{plan_gpt_index(tokens, wanted), arrays[0], arrays[1], arrays[2]};
    return std::make_shared<GptDataset>(data.sources[child], std::move(index), sample_options());
  }

  std::string cache_folder(const TokenSource& source) const {
    if (config_.data_cache_path) return *config_.data_cache_path;
    return (std::filesystem::path(source.name()) / "cache" / "GPTDataset_indices").string();
  }

  GptSampleOptions sample_options() const {
    return {.sequence_length = request_.sequence_length,
            .reset_position_ids = config_.reset_position_ids,
            .reset_attention_mask = config_.reset_attention_mask,
            .eod_mask_loss = config_.eod_mask_loss,
            .eod = request_.eod,
            .pad = request_.pad};
  }

  [[noreturn]] void refuse_empty(const TokenSource& source, Split split, int64_t asked) const {
    const auto count = static_cast<int64_t>(source.sequence_lengths().size());
    if (!split_text_) {
      throw UsageError("{} samples are asked of the {} data, but {} holds no token", asked,
                       split_name(split), source.name());
    }
    std::vector<std::string> shares;
    for (const Split each : kSplits) {
      const auto& bounds = matrix_[position(each)];
      const Interval interval = bounds ? split_interval(*bounds, count) : Interval{0, 0};
      shares.push_back(fmt::format("{} {}", split_name(each), interval.second - interval.first));
    }
    throw UsageError(
        "{}: {} samples are asked of the {} data, but --split '{}' leaves it no token of {} "
        "documents ({}); give it a larger share (--split 8,1,1), more and smaller documents "
        "(megalith preprocess --document-separator), or switch it off with a share of 0",
        source.name(), asked, split_name(split), *split_text_, count, fmt::join(shares, ", "));
  }

  void note(const std::string& line) const {
    if (request_.notice) request_.notice(line);
  }

  const DataConfig& config_;
  const DatasetRequest& request_;
  std::optional<std::string> split_text_;
  SplitMatrix matrix_;
};

}  // namespace

int64_t SampleCounts::of(Split split) const {
  if (split == Split::kTrain) return train;
  return split == Split::kValid ? valid : test;
}

const std::shared_ptr<const Dataset>& Datasets::of(Split split) const {
  if (split == Split::kTrain) return train;
  return split == Split::kValid ? valid : test;
}

std::shared_ptr<const Dataset>& Datasets::of(Split split) {
  if (split == Split::kTrain) return train;
  return split == Split::kValid ? valid : test;
}

SampleCounts requested_samples(int64_t train_iters, std::optional<int64_t> train_samples,
                               int64_t eval_interval, int64_t eval_iters,
                               int64_t global_batch_size) {
  const int64_t evaluations = eval_interval > 0 ? train_iters / eval_interval + 1 : 1;
  return {train_samples.value_or(train_iters * global_batch_size),
          evaluations * eval_iters * global_batch_size, eval_iters * global_batch_size};
}

Datasets build_datasets(const DataConfig& config, const DatasetRequest& request) {
  if (config.needs_eod() && !request.eod) {
    throw UsageError(
        "--reset-position-ids, --reset-attention-mask and --eod-mask-loss need the id of the end "
        "of a document; name a tokenizer that has one (--tokenizer-type and its files; GPT-2's "
        "vocabulary has it as <|endoftext|>), or leave these flags out");
  }
  if (request.role == IndexRole::kLoadOrBuildPrivately && request.wait_for_builder) {
    request.wait_for_builder();
  }
  return DatasetBuilder(config, request).build();
}

void check_training_data(const Datasets& datasets, int64_t sequence_length, int64_t samples) {
  if (!datasets.train) throw UsageError("there is no training data; give training a share");
  const int64_t tokens = datasets.train->tokens_per_epoch();
  if (tokens < sequence_length + 1) {
    throw UsageError(
        "the training data hold {} tokens, fewer than one sample needs: --seq-length {} and one "
        "more; use more data or a shorter --seq-length",
        tokens, sequence_length);
  }
  const int64_t there = datasets.train->num_samples();
  if (there < samples) {
    throw UsageError(
        "the training data give {} samples, and the run asks for {}: a blend without weights takes "
        "each dataset once; give weights (--data-path 0.5 A 0.5 B), fewer iterations, or more data",
        there, samples);
  }
}

}  // namespace megalith

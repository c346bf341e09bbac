#include "megalith/data/build_datasets.hpp"

#include <sstream>
#include <stdexcept>

#include "megalith/core/atomic_file.hpp"
#include "megalith/data/blended_dataset.hpp"
#include "megalith/data/split_dataset.hpp"

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
      : config_(config),
        request_(request),
        description_(describe_dataset(config, request)),
        split_text_(description_.split_text),
        matrix_(description_.matrix) {}

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
      const auto tokens = request_.kind == DatasetKind::kBert
                              ? make_mock_sentences(request_.word_pieces)
                              : make_mock_tokens(request_.vocab_size, request_.eod);
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
      auto dataset = split_dataset(data, 0, split, bounds, size);
      if (dataset->tokens_per_epoch() > 0) return dataset;
      note(fmt::format("no {} data: {} has nothing for its share, and nothing is asked for",
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
    std::vector<DatasetDescription> descriptions;
    for (size_t i = 0; i < asked.size(); ++i) {
      descriptions.push_back(describe(data, i, split, asked[i]));
    }
    BlendIndex index = blend_index(descriptions, split, weights, size, build);
    const auto drawn = blend_counts(index, asked.size());
    std::vector<std::shared_ptr<const Dataset>> children;
    for (size_t i = 0; i < asked.size(); ++i) {
      auto child = split_dataset(data, i, split, bounds, asked[i]);
      // Rounding may draw more than the surplus allows for; upstream gives up here.
      if (child->num_samples() < drawn[i]) child = split_dataset(data, i, split, bounds, drawn[i]);
      children.push_back(std::move(child));
    }
    return std::make_shared<BlendedDataset>(std::move(children), std::move(index));
  }

  std::shared_ptr<const Dataset> unweighted(const Opened& data, Split split,
                                            std::pair<double, double> bounds,
                                            int64_t target) const {
    std::vector<std::shared_ptr<const Dataset>> children;
    std::vector<DatasetDescription> descriptions;
    std::vector<double> lengths;
    for (size_t i = 0; i < data.sources.size(); ++i) {
      auto child = split_dataset(data, i, split, bounds, std::nullopt);
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
  BlendIndex blend_index(const std::vector<DatasetDescription>& children, Split split,
                         const std::vector<double>& weights, int64_t size,
                         const std::function<BlendIndex()>& build) const {
    std::optional<IndexCache> cache;
    if (config_.data_cache_path) {
      cache.emplace(*config_.data_cache_path, kBlendClass, split,
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

  DatasetDescription describe(const Opened& data, size_t child, Split split,
                              std::optional<int64_t> num_samples) const {
    DatasetDescription description = description_;
    description.dataset_path = data.sources[child]->name();
    description.num_samples = num_samples;
    description.split = split;
    return description;
  }

  std::shared_ptr<const Dataset> split_dataset(const Opened& data, size_t child, Split split,
                                               std::pair<double, double> bounds,
                                               std::optional<int64_t> num_samples) const {
    return make_split_dataset({.config = config_,
                               .run = request_,
                               .source = data.sources[child],
                               .bounds = bounds,
                               .description = describe(data, child, split, num_samples)});
  }

  void note(const std::string& line) const {
    if (request_.notice) request_.notice(line);
  }

  const DataConfig& config_;
  const DatasetRequest& request_;
  const DatasetDescription description_;  // of any child, without path, size and split
  const std::optional<std::string> split_text_;
  const SplitMatrix matrix_;
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
  if (request.kind == DatasetKind::kBert) {
    Problems problems;
    request.bert.check(request.sequence_length, request.seed, problems);
    if (config.needs_eod()) {
      problems.add(
          "--reset-position-ids, --reset-attention-mask and --eod-mask-loss are about documents "
          "inside a GPT sample; a BERT sample is from one document: leave them out");
    }
    problems.raise_if_any();
  } else if (config.needs_eod() && !request.eod) {
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

void check_training_data(const Datasets& datasets, int64_t samples) {
  if (!datasets.train) throw UsageError("there is no training data; give training a share");
  const int64_t tokens = datasets.train->tokens_per_epoch();
  const int64_t needed = datasets.train->min_tokens();
  if (tokens < needed) {
    throw UsageError(
        "the training data hold {} tokens, fewer than one sample needs: --seq-length {} and one "
        "more; use more data or a shorter --seq-length",
        tokens, needed - 1);
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

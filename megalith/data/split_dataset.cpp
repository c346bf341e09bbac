#include "megalith/data/split_dataset.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "megalith/core/error.hpp"
#include "megalith/data/gpt_dataset.hpp"

namespace megalith {
namespace {

[[noreturn]] void refuse_empty(const SplitDatasetRequest& request) {
  const TokenSource& source = *request.source;
  const auto count = static_cast<int64_t>(source.sequence_lengths().size());
  const int64_t asked = request.num_samples().value_or(0);
  const auto& split_text = request.description.split_text;
  if (!split_text) {
    throw UsageError("{} samples are asked of the {} data, but {} holds no token", asked,
                     split_name(request.split()), source.name());
  }
  throw UsageError(
      "{}: {} samples are asked of the {} data, but --split '{}' leaves it no token of {} "
      "documents ({}); give it a larger share (--split 8,1,1), more and smaller documents "
      "(megalith preprocess --document-separator), or switch it off with a share of 0",
      source.name(), asked, split_name(request.split()), *split_text, count,
      shares_text(request.description.matrix, count));
}

GptSampleOptions sample_options(const DataConfig& config, const DatasetRequest& run) {
  return {.sequence_length = run.sequence_length,
          .reset_position_ids = config.reset_position_ids,
          .reset_attention_mask = config.reset_attention_mask,
          .eod_mask_loss = config.eod_mask_loss,
          .eod = run.eod,
          .pad = run.pad};
}

}  // namespace

std::string SplitDatasetRequest::cache_folder() const {
  if (config.data_cache_path) return *config.data_cache_path;
  return (std::filesystem::path(source->name()) / "cache" / (description.class_name + "_indices"))
      .string();
}

std::string shares_text(const SplitMatrix& matrix, int64_t count) {
  std::vector<std::string> shares;
  for (const Split each : kSplits) {
    const auto& bounds = matrix[static_cast<size_t>(each)];
    const Interval interval = bounds ? split_interval(*bounds, count) : Interval{0, 0};
    shares.push_back(fmt::format("{} {}", split_name(each), interval.second - interval.first));
  }
  return fmt::format("{}", fmt::join(shares, ", "));
}

DatasetDescription describe_dataset(const DataConfig& config, const DatasetRequest& run) {
  DatasetDescription description{.seed = run.seed,
                                 .sequence_length = run.sequence_length,
                                 .matrix = {},
                                 .tokenizer_json = run.tokenizer_json};
  if (!config.per_split()) {
    description.split_text = config.split_text();
    description.matrix = split_matrix(parse_split(*description.split_text));
  }
  if (run.kind == DatasetKind::kBert) {
    const MaskingOptions masking = run.masking();
    description.class_name = kBertClass;
    description.more_json =
        nlohmann::ordered_json{{"masking_probability", masking.probability},
                               {"short_sequence_probability", run.bert.short_seq_prob},
                               {"masking_max_ngram", masking.max_ngram},
                               {"masking_do_full_word", masking.whole_words},
                               {"masking_do_permutation", false},
                               {"masking_use_longer_ngrams", masking.longer_ngrams},
                               {"masking_use_geometric_distribution", masking.geometric},
                               {"classification_head", !run.bert.no_binary_head}}
            .dump();
  }
  return description;
}

std::shared_ptr<const Dataset> make_split_dataset(const SplitDatasetRequest& request) {
  return request.run.kind == DatasetKind::kBert ? make_bert_split(request)
                                                : make_gpt_split(request);
}

std::shared_ptr<const Dataset> make_gpt_split(const SplitDatasetRequest& request) {
  const TokenSource& source = *request.source;
  const auto lengths = source.sequence_lengths();
  const Interval interval = split_interval(request.bounds, static_cast<int64_t>(lengths.size()));
  const int64_t tokens = count_tokens(lengths, interval);
  if (tokens == 0 && request.num_samples().value_or(0) > 0) refuse_empty(request);
  const GptIndexRequest wanted{.sequence_length = request.run.sequence_length,
                               .num_samples = request.num_samples(),
                               .seed = request.run.seed};
  std::optional<IndexCache> cache;
  if (tokens > 0 && !request.config.mock_data) {
    cache.emplace(request.cache_folder(), kGptClass, request.split(),
                  description_text(request.description),
                  gpt_fingerprint(lengths, interval, wanted));
  }
  auto arrays = load_or_build(
      cache ? &*cache : nullptr, request.run.role,
      {"document_index", "sample_index", "shuffle_index"},
      [&] {
        GptIndex built = build_gpt_index(lengths, interval, wanted);
        return std::vector<IntegerArray>{built.documents, built.samples, built.shuffle};
      },
      request.run.notice);
  GptIndex index{plan_gpt_index(tokens, wanted), arrays[0], arrays[1], arrays[2]};
  return std::make_shared<GptDataset>(request.source, std::move(index),
                                      sample_options(request.config, request.run));
}

}  // namespace megalith

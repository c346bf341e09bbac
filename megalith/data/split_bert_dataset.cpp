// make_bert_split of split_dataset.hpp: the checks that data for BERT need, mapping and cache.
#include "megalith/core/error.hpp"
#include "megalith/data/bert_dataset.hpp"
#include "megalith/data/split_dataset.hpp"

namespace megalith {
namespace {

/// Data of whole documents would give no pair, or one sample a document, cut to its length.
void require_sentences(const TokenSource& source) {
  const auto sequences = static_cast<int64_t>(source.sequence_lengths().size());
  const int64_t documents = source.num_documents();
  if (sequences > documents || documents == 0) return;
  for (int64_t d = 0; d < documents; ++d) {
    if (source.first_sequence(d + 1) - source.first_sequence(d) > 1) return;
  }
  throw UsageError(
      "{}: each of its {} documents is a single sequence, as data for GPT are; BERT learns from "
      "the sentences of a document: make it with megalith preprocess --split-sentences",
      source.name(), documents);
}

/// First sentence of each document of the share, and the end of the last.
std::vector<int64_t> document_bounds(const TokenSource& source, Interval documents) {
  const auto sentences = static_cast<int64_t>(source.sequence_lengths().size());
  std::vector<int64_t> bounds;
  bounds.reserve(static_cast<size_t>(documents.second - documents.first + 1));
  for (int64_t d = documents.first; d <= documents.second; ++d) {
    const int64_t bound = source.first_sequence(d);
    const int64_t low = bounds.empty() ? 0 : bounds.back();
    if (bound < low || bound > sentences) {
      throw UsageError(
          "{}.idx: document {} starts at sentence {}; expected {} to {}; megalith data verify "
          "checks the rest, megalith preprocess makes it again",
          source.name(), d, bound, low, sentences);
    }
    bounds.push_back(bound);
  }
  return bounds;
}

[[noreturn]] void refuse_empty(const SplitDatasetRequest& request, const BertSurvey& survey,
                               const BertIndexRequest& wanted) {
  const TokenSource& source = *request.source;
  const auto& split_text = request.description.split_text;
  const int64_t asked = *request.num_samples();
  const char* const name = split_name(request.split());
  if (survey.documents == 0 && split_text) {
    const int64_t count = source.num_documents();
    throw UsageError(
        "{}: {} samples are asked of the {} data, but --split '{}' leaves it none of {} documents "
        "({}); give it a larger share (--split 8,1,1), more and smaller documents (megalith "
        "preprocess --document-separator), or switch it off with a share of 0",
        source.name(), asked, name, *split_text, count,
        shares_text(request.description.matrix, count));
  }
  throw UsageError(
      "{}: {} samples are asked of the {} data, but none of its {} documents gives one{}; {}",
      source.name(), asked, name, survey.documents, survey.left_out(wanted),
      survey.long_sentences > 0
          ? "cut the text into smaller documents (megalith preprocess --document-separator), or "
            "use such documents too (--keep-long-sentences)"
          : "give documents of several sentences each");
}

}  // namespace

std::shared_ptr<const Dataset> make_bert_split(const SplitDatasetRequest& request) {
  const TokenSource& source = *request.source;
  const DatasetRequest& run = request.run;
  require_sentences(source);
  const auto lengths = source.sequence_lengths();
  const auto bounds =
      document_bounds(source, split_interval(request.bounds, source.num_documents()));
  const BertIndexRequest wanted{.sequence_length = run.sequence_length,
                                .num_samples = request.num_samples(),
                                .seed = run.seed,
                                .short_sequence_probability = run.bert.short_seq_prob,
                                .sentence_order = !run.bert.no_binary_head,
                                .keep_long_sentences = run.bert.keep_long_sentences};
  const BertSurvey survey = survey_documents(lengths, bounds, wanted);
  const bool empty = survey.used_documents == 0;
  if (empty && wanted.num_samples.value_or(0) > 0) refuse_empty(request, survey, wanted);
  std::optional<IndexCache> cache;
  if (!empty && !request.config.mock_data) {
    cache.emplace(request.cache_folder(), kBertClass, std::nullopt,
                  description_text(request.description), bert_fingerprint(lengths, bounds, wanted));
  }
  const auto arrays = load_or_build(
      cache ? &*cache : nullptr, run.role, {"sample_index"},
      [&] { return std::vector<IntegerArray>{build_bert_mapping(lengths, bounds, wanted)}; },
      run.notice);
  return std::make_shared<BertDataset>(request.source, BertIndex{survey, arrays[0]}, wanted,
                                       run.word_pieces, run.masking());
}

}  // namespace megalith

#include "megalith/data/bert_index.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

enum class DocumentUse { kUsed, kTooFewSentences, kLongSentence };

/// A document of one sentence is never tested for its length, as upstream does.
DocumentUse use_of(std::span<const int32_t> sentences, const BertIndexRequest& request) {
  const auto count = static_cast<int64_t>(sentences.size());
  const auto is_long = [](int32_t length) { return length > kLongestSentence; };
  if (count < request.min_sentences()) return DocumentUse::kTooFewSentences;
  const bool tested = count > 1 && !request.keep_long_sentences;
  if (tested && std::any_of(sentences.begin(), sentences.end(), is_long)) {
    return DocumentUse::kLongSentence;
  }
  return DocumentUse::kUsed;
}

std::span<const int32_t> sentences_of(std::span<const int32_t> lengths, DocumentBounds bounds,
                                      size_t document) {
  return lengths.subspan(static_cast<size_t>(bounds[document]),
                         static_cast<size_t>(bounds[document + 1] - bounds[document]));
}

/// Draws how long the next sample shall be: mostly as long as fits.
class TargetLengths {
 public:
  explicit TargetLengths(const BertIndexRequest& request)
      : generator_(static_cast<uint32_t>(request.seed)),
        longest_(static_cast<uint32_t>(request.sequence_length - kBertSpecialTokens)) {
    const double probability = request.short_sequence_probability;
    if (probability > 0) one_in_ = static_cast<uint32_t>(std::round(1.0 / probability));
  }

  uint32_t next() {
    if (one_in_ == 0) return longest_;
    const auto draw = static_cast<uint32_t>(generator_());
    return draw % one_in_ == 0 ? 2 + draw % (longest_ - 1) : longest_;
  }

 private:
  std::mt19937 generator_;
  uint32_t longest_;
  uint32_t one_in_ = 0;
};

/// Calls row(first, end, target) for every row of whole epochs over the `used` documents, until
/// there are as many as asked.
template <class Row>
void walk_epochs(std::span<const int32_t> lengths, DocumentBounds bounds,
                 const std::vector<size_t>& used, const BertIndexRequest& request, const Row& row) {
  TargetLengths targets(request);
  int64_t rows = 0;
  do {
    if (request.num_samples && rows >= *request.num_samples) return;
    for (const size_t document : used) {
      int64_t first = bounds[document];
      const int64_t end = bounds[document + 1];
      int64_t tokens = 0;
      uint32_t target = targets.next();
      for (int64_t sentence = first; sentence < end; ++sentence) {
        tokens += lengths[static_cast<size_t>(sentence)];
        const int64_t remaining = end - sentence - 1;
        const bool enough = tokens >= target && sentence + 1 - first >= request.min_sentences();
        // A last sentence that stayed behind alone would make no pair.
        if (remaining != 0 && !(enough && remaining > 1)) continue;
        row(first, sentence + 1, target);
        ++rows;
        first = sentence + 1;
        tokens = 0;
        target = targets.next();
      }
    }
  } while (request.num_samples);
}

template <class T>
void shuffle_rows(std::vector<T>& rows, int64_t seed) {
  std::mt19937_64 generator(static_cast<uint64_t>(seed) + 1);
  for (uint64_t i = rows.size() / 3; i-- > 1;) {
    const uint64_t j = generator() % (i + 1);
    for (uint64_t column = 0; column < 3; ++column) {
      std::swap(rows[3 * i + column], rows[3 * j + column]);
    }
  }
}

/// Twice over the documents, so that memory never holds more than the rows.
template <class T>
IntegerArray mapping_of(std::span<const int32_t> lengths, DocumentBounds bounds,
                        const std::vector<size_t>& used, const BertIndexRequest& request) {
  size_t count = 0;
  walk_epochs(lengths, bounds, used, request, [&](int64_t, int64_t, uint32_t) { ++count; });
  std::vector<T> rows;
  rows.reserve(3 * count);
  walk_epochs(lengths, bounds, used, request, [&](int64_t first, int64_t end, uint32_t target) {
    rows.push_back(static_cast<T>(first));
    rows.push_back(static_cast<T>(end));
    rows.push_back(static_cast<T>(target));
  });
  shuffle_rows(rows, request.seed);
  return IntegerArray(std::move(rows), 3);
}

}  // namespace

std::string BertSurvey::left_out(const BertIndexRequest& request) const {
  std::vector<std::string> parts;
  if (too_few_sentences > 0) {
    parts.push_back(fmt::format("{} with fewer than {} sentence{}", too_few_sentences,
                                request.min_sentences(), request.min_sentences() == 1 ? "" : "s"));
  }
  if (long_sentences > 0) {
    parts.push_back(
        fmt::format("{} with a sentence of more than {} pieces", long_sentences, kLongestSentence));
  }
  return parts.empty() ? "" : fmt::format("; left out: {}", fmt::join(parts, ", "));
}

BertSurvey survey_documents(std::span<const int32_t> lengths, DocumentBounds bounds,
                            const BertIndexRequest& request) {
  BertSurvey survey;
  for (size_t d = 0; d + 1 < bounds.size(); ++d) {
    const auto sentences = sentences_of(lengths, bounds, d);
    const auto count = static_cast<int64_t>(sentences.size());
    ++survey.documents;
    survey.sentences += count;
    const DocumentUse use = use_of(sentences, request);
    if (use == DocumentUse::kTooFewSentences) ++survey.too_few_sentences;
    if (use == DocumentUse::kLongSentence) ++survey.long_sentences;
    if (use != DocumentUse::kUsed) continue;
    if (survey.used_documents++ == 0) survey.first_used_sentence = bounds[d];
    survey.used_sentences += count;
    for (const int32_t length : sentences) survey.used_tokens += length;
  }
  return survey;
}

IntegerArray build_bert_mapping(std::span<const int32_t> lengths, DocumentBounds bounds,
                                const BertIndexRequest& request) {
  const double probability = request.short_sequence_probability;
  if (request.sequence_length < kShortestBertSequence || request.seed < 0 ||
      request.seed > kLargestBertSeed || !(probability >= 0 && probability <= 1)) {
    throw std::invalid_argument("build_bert_mapping: sequence length, seed or probability");
  }
  std::vector<size_t> used;
  for (size_t d = 0; d + 1 < bounds.size(); ++d) {
    if (use_of(sentences_of(lengths, bounds, d), request) == DocumentUse::kUsed) used.push_back(d);
  }
  if (used.empty() && request.num_samples.value_or(0) > 0) {
    throw std::invalid_argument("build_bert_mapping: samples of no document");
  }
  if (lengths.size() > std::numeric_limits<uint32_t>::max()) {
    return mapping_of<uint64_t>(lengths, bounds, used, request);
  }
  return mapping_of<uint32_t>(lengths, bounds, used, request);
}

int64_t count_epochs(const IntegerArray& mapping, const BertSurvey& survey) {
  int64_t epochs = 0;
  for (int64_t i = 0; i < mapping.size(); i += 3) {
    epochs += mapping[i] == survey.first_used_sentence ? 1 : 0;
  }
  return epochs;
}

}  // namespace megalith

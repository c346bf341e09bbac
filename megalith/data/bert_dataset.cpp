#include "megalith/data/bert_dataset.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "megalith/core/error.hpp"

namespace megalith {

BertDataset::BertDataset(std::shared_ptr<const TokenSource> source, BertIndex index,
                         const BertIndexRequest& request, std::shared_ptr<const WordPieces> pieces,
                         const MaskingOptions& masking)
    : source_(std::move(source)),
      index_(std::move(index)),
      request_(request),
      pieces_(std::move(pieces)) {
  if (pieces_) masking_.emplace(pieces_, masking);
}

RandomState BertDataset::generator(int64_t k) const {
  if (k < 0 || k >= num_samples()) {
    throw std::out_of_range(fmt::format("sample {} of a dataset of {}", k, num_samples()));
  }
  return RandomState((request_.seed + k) % (int64_t{1} << 32));
}

BertDataset::Part BertDataset::whole(int64_t first, int64_t end) const {
  const auto lengths = source_->sequence_lengths().subspan(static_cast<size_t>(first),
                                                           static_cast<size_t>(end - first));
  return {first, end, 0, std::accumulate(lengths.begin(), lengths.end(), int64_t{0})};
}

BertDataset::Plan BertDataset::plan(int64_t k, RandomState& random) const {
  const int64_t first = index_.mapping[3 * k], end = index_.mapping[3 * k + 1];
  Plan plan{.a = {}, .b = {}, .target_length = index_.mapping[3 * k + 2]};
  if (request_.sentence_order) {
    const int64_t sentences = end - first;
    const int64_t pivot = sentences >= 3 ? random.randint(1, sentences) : 1;
    plan.a = whole(first, first + pivot);
    plan.b = whole(first + pivot, end);
    plan.swapped = random.random() < 0.5;
    if (plan.swapped) std::swap(plan.a, plan.b);
  } else {
    plan.a = whole(first, end);
  }
  plan.truncated = plan.a.length + plan.b.length > plan.target_length;
  while (plan.a.length + plan.b.length > plan.target_length) {
    Part& longer = plan.a.length > plan.b.length ? plan.a : plan.b;
    if (random.random() < 0.5) ++longer.skip;
    --longer.length;
  }
  return plan;
}

void BertDataset::append(const Part& part, std::vector<int64_t>& tokens) const {
  const auto lengths = source_->sequence_lengths();
  int64_t skip = part.skip, left = part.length;
  for (int64_t sentence = part.first; sentence < part.end && left > 0; ++sentence) {
    const int64_t length = lengths[static_cast<size_t>(sentence)];
    const int64_t offset = std::min(skip, length);
    const int64_t taken = std::min(left, length - offset);
    const size_t before = tokens.size();
    tokens.resize(before + static_cast<size_t>(taken));
    const auto ids = std::span(tokens).subspan(before);
    source_->read(sentence, offset, ids);
    const auto unknown =
        std::find_if(ids.begin(), ids.end(), [&](int64_t id) { return !pieces_->knows(id); });
    if (unknown != ids.end()) {
      throw UsageError(
          "{} is id {}, but the vocabulary has {} entries; were the data made with another "
          "tokenizer? megalith data verify finds every such id",
          source_->place(sentence, offset + (unknown - ids.begin())), *unknown, pieces_->size());
    }
    skip -= offset;
    left -= taken;
  }
}

Sample BertDataset::sample(int64_t k) const {
  if (!pieces_) throw std::logic_error("BertDataset: samples need a vocabulary");
  RandomState random = generator(k);
  const Plan parts = plan(k, random);
  const auto size = static_cast<size_t>(request_.sequence_length);
  Sample sample;
  sample.tokens.reserve(size);
  sample.tokens.push_back(pieces_->cls);
  append(parts.a, sample.tokens);
  sample.tokens.push_back(pieces_->sep);
  const size_t start_of_b = sample.tokens.size();
  if (parts.b.length > 0) {
    append(parts.b, sample.tokens);
    sample.tokens.push_back(pieces_->sep);
  }
  const size_t used = sample.tokens.size();
  sample.labels.assign(size, kIgnoredLabel);
  masking_->apply(parts.target_length, random, sample.tokens, std::span(sample.labels).first(used));
  sample.tokens.resize(size, pieces_->pad);
  sample.loss_mask.resize(size);
  std::transform(sample.labels.begin(), sample.labels.end(), sample.loss_mask.begin(),
                 [](int64_t label) { return label == kIgnoredLabel ? 0.0F : 1.0F; });
  sample.position_ids.resize(size);
  std::iota(sample.position_ids.begin(), sample.position_ids.end(), 0);
  sample.types.resize(size);
  std::fill(sample.types.begin() + static_cast<int64_t>(start_of_b),
            sample.types.begin() + static_cast<int64_t>(used), 1);
  sample.padding_mask.resize(size);
  std::fill_n(sample.padding_mask.begin(), used, 1);
  sample.is_random = parts.swapped ? 1 : 0;
  sample.truncated = parts.truncated;
  return sample;
}

std::string BertDataset::place_in(const Part& part, int64_t offset) const {
  const auto lengths = source_->sequence_lengths();
  int64_t sentence = part.first, left = part.skip + offset;
  while (left >= lengths[static_cast<size_t>(sentence)]) {
    left -= lengths[static_cast<size_t>(sentence++)];
  }
  return source_->place(sentence, left);
}

std::string BertDataset::place(int64_t k, int64_t position) const {
  RandomState random = generator(k);
  const Plan parts = plan(k, random);
  const int64_t in_a = position - 1, in_b = in_a - parts.a.length - 1;
  if (in_a >= 0 && in_a < parts.a.length) return place_in(parts.a, in_a);
  if (in_b >= 0 && in_b < parts.b.length) return place_in(parts.b, in_b);
  return source_->name() + ": a special token";
}

std::string BertDataset::summary() const {
  const BertSurvey& survey = index_.survey;
  const int64_t epochs = count_epochs(index_.mapping, survey);
  return fmt::format(
      "{} samples of up to {} tokens from {} of {} documents ({} sentences, {} tokens), {} "
      "epoch{}{}",
      num_samples(), request_.sequence_length, survey.used_documents, survey.documents,
      survey.used_sentences, survey.used_tokens, epochs, epochs == 1 ? "" : "s",
      survey.left_out(request_));
}

}  // namespace megalith

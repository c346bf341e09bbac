#include "megalith/data/gpt_dataset.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

constexpr int64_t kNoToken = -1;

}  // namespace

GptDataset::GptDataset(std::shared_ptr<const TokenSource> source, GptIndex index,
                       GptSampleOptions options)
    : source_(std::move(source)), index_(std::move(index)), options_(options) {
  const bool needs_eod =
      options_.reset_position_ids || options_.reset_attention_mask || options_.eod_mask_loss;
  if (needs_eod && !options_.eod) {
    throw std::invalid_argument("GptDataset: masks at document ends need the id of the end mark");
  }
  pad_ = options_.pad == options_.eod ? kNoToken : options_.pad.value_or(kNoToken);
}

int64_t GptDataset::window_size() const {
  return options_.sequence_length + (options_.add_extra_token ? 1 : 0);
}

std::vector<GptDataset::Piece> GptDataset::pieces(int64_t k) const {
  if (k < 0 || k >= num_samples()) {
    throw std::out_of_range(fmt::format("sample {} of a dataset of {}", k, num_samples()));
  }
  const int64_t sample = index_.shuffle[k];
  const int64_t first = index_.samples[2 * sample], start = index_.samples[2 * sample + 1];
  const int64_t last = index_.samples[2 * sample + 2];
  const int64_t end = index_.samples[2 * sample + 3] + (options_.add_extra_token ? 1 : 0);
  const auto lengths = source_->sequence_lengths();
  std::vector<Piece> result;
  for (int64_t position = first; position <= last; ++position) {
    const int64_t sequence = index_.documents[position];
    const int64_t offset = position == first ? start : 0;
    const int64_t stop = position == last ? end : lengths[static_cast<size_t>(sequence)];
    result.push_back({sequence, offset, stop - offset});
  }
  return result;
}

std::vector<int64_t> GptDataset::window(int64_t k) const {
  std::vector<int64_t> ids(static_cast<size_t>(window_size()), pad_);
  std::span<int64_t> rest(ids);
  for (const Piece& piece : pieces(k)) {
    const auto length = static_cast<size_t>(piece.length);
    source_->read(piece.sequence, piece.offset, rest.first(length));
    rest = rest.subspan(length);
  }
  return ids;
}

std::string GptDataset::place(int64_t k, int64_t position) const {
  int64_t left = position;
  for (const Piece& piece : pieces(k)) {
    if (left < piece.length) return source_->place(piece.sequence, piece.offset + left);
    left -= piece.length;
  }
  return source_->name() + ": padding";
}

/// Positions, segments and loss at the ends of documents; the end mark belongs to the document that
/// it ends. Works on the tokens as read, padding ids included.
void GptDataset::mark_documents(Sample& sample) const {
  int64_t start = 0, segment = 0;
  const auto size = static_cast<int64_t>(sample.tokens.size());
  for (int64_t i = 0; i < size; ++i) {
    const auto at = static_cast<size_t>(i);
    sample.position_ids[at] = i - (options_.reset_position_ids ? start : 0);
    if (options_.reset_attention_mask) sample.segment_ids[at] = segment;
    if (sample.tokens[at] != options_.eod) continue;
    if (options_.eod_mask_loss) sample.loss_mask[at] = 0;
    start = i + 1;
    ++segment;
  }
}

Sample GptDataset::sample(int64_t k) const {
  const auto size = static_cast<size_t>(options_.sequence_length);
  const std::vector<int64_t> ids = window(k);
  Sample result;
  result.tokens.assign(ids.begin(), ids.begin() + options_.sequence_length);
  result.labels.assign(ids.begin() + 1, ids.end());
  result.labels.resize(size, pad_);
  result.loss_mask.assign(size, 1);
  result.position_ids.resize(size);
  if (options_.reset_attention_mask) result.segment_ids.resize(size);
  mark_documents(result);
  for (size_t i = 0; i < size; ++i) {
    if (result.labels[i] == pad_) result.loss_mask[i] = 0;
  }
  // Padding must be an id that the embedding has.
  std::replace(result.tokens.begin(), result.tokens.end(), pad_, int64_t{0});
  std::replace(result.labels.begin(), result.labels.end(), pad_, int64_t{0});
  return result;
}

std::string GptDataset::summary() const {
  const GptIndexPlan& plan = index_.plan;
  return fmt::format("{} samples of {} tokens from {} documents ({} tokens), {} epoch{}{}",
                     plan.num_samples, options_.sequence_length,
                     index_.documents.size() / std::max<int64_t>(1, plan.num_epochs),
                     plan.tokens_per_epoch, plan.num_epochs, plan.num_epochs == 1 ? "" : "s",
                     plan.separate_last_epoch ? ", the last one shuffled alone" : "");
}

std::vector<uint8_t> attention_mask(const Sample& sample) {
  const size_t size = sample.tokens.size();
  std::vector<uint8_t> forbidden(size * size, 0);
  for (size_t query = 0; query < size; ++query) {
    for (size_t key = 0; key < size; ++key) {
      const bool other =
          !sample.segment_ids.empty() && sample.segment_ids[query] != sample.segment_ids[key];
      forbidden[query * size + key] = key > query || other ? 1 : 0;
    }
  }
  return forbidden;
}

std::vector<int64_t> segment_bounds(const Sample& sample) {
  std::vector<int64_t> bounds;
  const auto size = static_cast<int64_t>(sample.tokens.size());
  for (int64_t i = 0; i < size; ++i) {
    const auto at = static_cast<size_t>(i);
    const bool starts = i == 0 || (!sample.segment_ids.empty() &&
                                   sample.segment_ids[at] != sample.segment_ids[at - 1]);
    if (starts) bounds.push_back(i);
  }
  bounds.push_back(size);
  return bounds;
}

}  // namespace megalith

#include "megalith/data/gpt_index.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "megalith/core/error.hpp"
#include "megalith/data/numpy_random.hpp"

namespace megalith {
namespace {

/// A last epoch that is used for less than this share is shuffled alone, so that its documents do
/// not push others out of the epochs before.
constexpr double kSeparateBelow = 0.80;

std::vector<int32_t> shuffled_epochs(Interval interval, int64_t epochs, RandomState& random) {
  const int64_t size = interval.second - interval.first;
  std::vector<int32_t> ids(static_cast<size_t>(size * epochs));
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(interval.first + static_cast<int64_t>(i) % size);
  }
  random.shuffle(std::span(ids));
  return ids;
}

std::vector<int32_t> document_order(Interval interval, const GptIndexPlan& plan,
                                    RandomState& random) {
  if (!plan.separate_last_epoch) return shuffled_epochs(interval, plan.num_epochs, random);
  std::vector<int32_t> ids = shuffled_epochs(interval, plan.num_epochs - 1, random);
  const std::vector<int32_t> last = shuffled_epochs(interval, 1, random);
  ids.insert(ids.end(), last.begin(), last.end());
  return ids;
}

/// Walks the documents window by window. With the extra token a window starts on the last token of
/// the one before; without, it may start one past the end of a document.
template <class T>
std::vector<T> sample_starts(std::span<const int32_t> lengths,
                             const std::vector<int32_t>& documents, const GptIndexRequest& request,
                             int64_t num_samples) {
  const int64_t extra = request.add_extra_token ? 1 : 0;
  std::vector<T> starts;
  starts.reserve(static_cast<size_t>(2 * (num_samples + 1)));
  size_t position = 0;
  int64_t offset = 0;
  for (int64_t sample = 0;; ++sample) {
    starts.push_back(static_cast<T>(position));
    starts.push_back(static_cast<T>(offset));
    if (sample == num_samples) return starts;
    int64_t missing = request.sequence_length + extra;
    while (missing > 0) {
      const int64_t length = lengths[static_cast<size_t>(documents[position])];
      const int64_t available = length - offset;
      if (available >= missing) {
        offset += missing - extra;
        missing = 0;
      } else if (position + 1 == documents.size()) {
        offset = length - extra;  // a kept partial sample ends with the last document
        missing = 0;
      } else {
        missing -= available;
        offset = 0;
        ++position;
      }
    }
  }
}

IntegerArray sample_index(std::span<const int32_t> lengths, const std::vector<int32_t>& documents,
                          const GptIndexRequest& request, int64_t num_samples) {
  // Offsets fit int32, as lengths do; positions may not.
  if (documents.size() <= static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return IntegerArray(sample_starts<int32_t>(lengths, documents, request, num_samples), 2);
  }
  return IntegerArray(sample_starts<int64_t>(lengths, documents, request, num_samples), 2);
}

template <class T>
std::vector<T> shuffled_samples(int64_t first_part, int64_t total, RandomState& random) {
  std::vector<T> order(static_cast<size_t>(total));
  std::iota(order.begin(), order.end(), T{0});
  const std::span all(order);
  random.shuffle(all.first(static_cast<size_t>(first_part)));
  random.shuffle(all.subspan(static_cast<size_t>(first_part)));
  return order;
}

IntegerArray shuffle_index(const GptIndexPlan& plan, RandomState& random) {
  const int64_t total = plan.num_samples;
  const int64_t first = plan.separate_last_epoch ? plan.samples_before_last_epoch : total;
  constexpr int64_t kUint32Limit = (int64_t{1} << 32) - 2;
  if (total >= kUint32Limit) return IntegerArray(shuffled_samples<int64_t>(first, total, random));
  return IntegerArray(shuffled_samples<uint32_t>(first, total, random));
}

}  // namespace

GptIndexPlan plan_gpt_index(int64_t tokens_per_epoch, const GptIndexRequest& request) {
  const int64_t length = request.sequence_length;
  if (length < 1) throw std::invalid_argument("a GPT index needs a sequence length of at least 1");
  const int64_t extra = request.add_extra_token ? 1 : 0;
  GptIndexPlan plan{.tokens_per_epoch = tokens_per_epoch};
  if (tokens_per_epoch == 0) {
    if (request.num_samples.value_or(0) == 0) return plan;
    throw UsageError("{} samples are asked of documents that hold no token", *request.num_samples);
  }
  if (request.num_samples) {
    const int64_t needed = *request.num_samples * length + extra;
    plan.num_epochs = std::max<int64_t>(1, (needed + tokens_per_epoch - 1) / tokens_per_epoch);
  }
  const int64_t usable = plan.num_epochs * tokens_per_epoch - extra;
  plan.num_samples = usable / length;
  if (request.keep_partial_sample) {  // upstream's ceiling, taken in single precision
    plan.num_samples =
        static_cast<int64_t>(std::ceil(static_cast<float>(usable) / static_cast<float>(length)));
  }
  if (plan.num_epochs > 1) {
    const int64_t before = ((plan.num_epochs - 1) * tokens_per_epoch - extra) / length;
    const int64_t per_epoch = (tokens_per_epoch - extra) / length;
    const auto limit = static_cast<int64_t>(kSeparateBelow * static_cast<double>(per_epoch));
    plan.separate_last_epoch = *request.num_samples - before < limit;
    plan.samples_before_last_epoch = before;
  }
  return plan;
}

int64_t count_tokens(std::span<const int32_t> lengths, Interval interval) {
  const auto begin = lengths.begin();
  return std::accumulate(begin + interval.first, begin + interval.second, int64_t{0});
}

GptIndex build_gpt_index(std::span<const int32_t> lengths, Interval interval,
                         const GptIndexRequest& request) {
  if (interval.first < 0 || interval.first > interval.second ||
      interval.second > static_cast<int64_t>(lengths.size())) {
    throw std::invalid_argument("build_gpt_index: the interval lies outside the sequences");
  }
  GptIndex index;
  index.plan = plan_gpt_index(count_tokens(lengths, interval), request);
  if (index.plan.tokens_per_epoch == 0) {
    index.documents = IntegerArray(std::vector<int32_t>{});
    index.samples = IntegerArray(std::vector<int32_t>{0, 0}, 2);
    index.shuffle = IntegerArray(std::vector<uint32_t>{});
    return index;
  }
  RandomState random(request.seed);
  std::vector<int32_t> documents = document_order(interval, index.plan, random);
  index.samples = sample_index(lengths, documents, request, index.plan.num_samples);
  index.shuffle = shuffle_index(index.plan, random);
  index.documents = IntegerArray(std::move(documents));
  return index;
}

}  // namespace megalith

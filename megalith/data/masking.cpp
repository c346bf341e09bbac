#include "megalith/data/masking.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "megalith/data/dataset.hpp"
#include "megalith/data/split.hpp"

namespace megalith {
namespace {

constexpr double kGeometricSuccess = 0.2;
// BERT's shares: 80 % [MASK], 10 % a random piece, 10 % left as they are.
constexpr double kMaskShare = 0.8;
constexpr double kKeepShare = 0.5;  // of the rest

/// 1, 1/2, 1/3, …, normalised, and again as upstream does at every draw.
std::vector<double> probabilities_of(const MaskingOptions& options) {
  std::vector<double> shares;
  for (int64_t n = 1; n <= options.max_ngram; ++n) shares.push_back(1.0 / static_cast<double>(n));
  shares = normalized(shares);
  if (options.longer_ngrams) std::reverse(shares.begin(), shares.end());
  return normalized(shares);
}

}  // namespace

Masking::Masking(std::shared_ptr<const WordPieces> pieces, const MaskingOptions& options)
    : pieces_(std::move(pieces)),
      options_(options),
      ngram_probabilities_(probabilities_of(options)) {
  if (options_.max_ngram < 1) throw std::invalid_argument("Masking: max_ngram must be at least 1");
}

std::span<const int32_t> Masking::Words::run(int64_t first, int64_t n) const {
  const auto begin = static_cast<size_t>(first);
  const auto end = static_cast<size_t>(std::min(first + n, count()));
  return std::span(positions).subspan(starts[begin], starts[end] - starts[begin]);
}

Masking::Words Masking::words_in(std::span<const int64_t> tokens) const {
  Words words;
  words.positions.reserve(tokens.size());
  words.starts.reserve(tokens.size() + 1);
  bool after_special = true;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int64_t id = tokens[i];
    const bool special = id == pieces_->cls || id == pieces_->sep;
    if (!special) {
      const bool continues = options_.whole_words &&
                             pieces_->continues_word[static_cast<size_t>(id)] != 0 &&
                             !words.starts.empty() && !(options_.clean && after_special);
      if (!continues) words.starts.push_back(words.positions.size());
      words.positions.push_back(static_cast<int32_t>(i));
    }
    after_special = special;
  }
  words.starts.push_back(words.positions.size());
  return words;
}

/// How many pieces to hide; a fraction where the target length is what limits them.
double Masking::budget(int64_t target_length, size_t num_tokens) const {
  const double rounded = std::nearbyint(static_cast<double>(num_tokens) * options_.probability);
  const double limit = options_.probability * static_cast<double>(target_length);
  if (options_.clean) return std::max(1.0, std::min(limit, rounded));
  return std::min(limit, std::max(1.0, rounded));
}

int64_t Masking::draw_ngram(RandomState& random) const {
  if (options_.geometric) return std::min(random.geometric(kGeometricSuccess), options_.max_ngram);
  return 1 + random.choice(ngram_probabilities_);
}

int64_t Masking::replacement(int64_t token, RandomState& random) const {
  if (random.random() < kMaskShare) return pieces_->mask;
  if (random.random() < kKeepShare) return token;
  if (!options_.clean) return random.randint(0, pieces_->size());
  const auto count = static_cast<int64_t>(pieces_->ordinary.size());
  return pieces_->ordinary.at(static_cast<size_t>(random.randint(0, count)));
}

void Masking::apply(int64_t target_length, RandomState& random, std::span<int64_t> tokens,
                    std::span<int64_t> labels) const {
  const Words words = words_in(tokens);
  const double budget_left_at_start = budget(target_length, tokens.size());
  std::vector<int32_t> order(static_cast<size_t>(words.count()));
  std::iota(order.begin(), order.end(), 0);
  random.shuffle(std::span(order));
  int64_t hidden = 0;
  const auto is_hidden = [&](int32_t at) {
    return labels[static_cast<size_t>(at)] != kIgnoredLabel;
  };
  for (const int64_t word : order) {
    if (static_cast<double>(hidden) >= budget_left_at_start) break;
    int64_t n = draw_ngram(random);  // drawn whether it is used or not
    const auto fits = [&](int64_t length) {
      const auto after = hidden + static_cast<int64_t>(words.run(word, length).size());
      return static_cast<double>(after) <= budget_left_at_start;
    };
    while (n > 0 && !fits(n)) --n;
    const auto run = words.run(word, n);
    if (n == 0 || std::any_of(run.begin(), run.end(), is_hidden)) continue;
    for (const int32_t at : run) {
      const auto i = static_cast<size_t>(at);
      labels[i] = tokens[i];
      tokens[i] = replacement(tokens[i], random);
      ++hidden;
    }
  }
  // Upstream shuffles once more here, which nothing reads.
}

}  // namespace megalith

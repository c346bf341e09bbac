#include "megalith/generation/sampling.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "megalith/parallel/random.hpp"

namespace megalith {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

/// Likelier first; of equals the lower id.
struct Likelier {
  std::span<const double> logits;
  bool operator()(int64_t a, int64_t b) const {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  }
};

void check_numbers(std::span<const double> logits) {
  for (size_t id = 0; id < logits.size(); ++id) {
    if (std::isnan(logits[id]) || logits[id] == -kMinusInfinity) {
      throw RunError(
          "the model's logit of token {} is {}, so no token can be picked; the weights are damaged "
          "or the precision is too low (try --fp32)",
          id, logits[id]);
    }
  }
}

std::vector<int64_t> possible_tokens(std::span<const double> logits) {
  std::vector<int64_t> tokens;
  tokens.reserve(logits.size());
  for (size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] > kMinusInfinity) tokens.push_back(static_cast<int64_t>(id));
  }
  return tokens;
}

/// The count likeliest, in no order.
void keep_top_k(std::vector<int64_t>& tokens, const Likelier& likelier, int64_t count) {
  if (count == 0 || count >= static_cast<int64_t>(tokens.size())) return;
  std::nth_element(tokens.begin(), tokens.begin() + count, tokens.end(), likelier);
  tokens.resize(static_cast<size_t>(count));
}

/// The fewest likeliest that together hold `share` of the probability. A heap, since they are
/// usually few of many.
void keep_top_p(std::vector<int64_t>& tokens, const Likelier& likelier, double temperature,
                double share) {
  if (share == 0 || share >= 1) return;
  const auto below = [&](int64_t a, int64_t b) { return likelier(b, a); };
  std::make_heap(tokens.begin(), tokens.end(), below);
  const double largest = likelier.logits[tokens.front()];
  const auto weight = [&](int64_t token) {
    return std::exp((likelier.logits[token] - largest) / temperature);
  };
  double total = 0;
  for (const int64_t token : tokens) total += weight(token);
  std::vector<int64_t> kept;
  for (double reached = 0; !tokens.empty() && (kept.empty() || reached < share * total);) {
    std::pop_heap(tokens.begin(), tokens.end(), below);
    reached += weight(tokens.back());
    kept.push_back(tokens.back());
    tokens.pop_back();
  }
  tokens = std::move(kept);
}

std::vector<int64_t> tokens_left(std::span<const double> logits, const SamplingConfig& config) {
  check_numbers(logits);
  std::vector<int64_t> tokens = possible_tokens(logits);
  const Likelier likelier{logits};
  keep_top_k(tokens, likelier, config.top_k);
  keep_top_p(tokens, likelier, config.temperature, config.top_p);
  return tokens;
}

/// -log(-log u), whose law makes the largest of logit + variable a draw from the softmax.
double gumbel(int64_t stream, int64_t token) {
  return -std::log(-std::log(keyed_uniform({stream, token})));
}

}  // namespace

FieldList SamplingConfig::fields() {
  return {
      {"max-new-tokens", &max_new_tokens, "Longest continuation, in tokens.", at_least(1),
       "128, or what the prompt leaves of the positions"},
      {"num-samples", &num_samples, "Continuations of each prompt.", at_least(1)},
      {"greedy", &greedy, "Always take the likeliest token."},
      {"temperature", &temperature,
       "Logits are divided by this before drawing: below 1 safer, above 1 more varied; 0 is "
       "--greedy.",
       at_least(0)},
      {"top-k", &top_k, "Draw from this many likeliest tokens; 0 is all.", at_least(0)},
      {"top-p", &top_p,
       "Draw from the fewest likeliest tokens that together have this probability, after "
       "--top-k; 0 or 1 is all.",
       between(0, 1)},
      {"seed", &seed,
       "Seed of the draws. A draw depends on seed, prompt, sample and position, on nothing else."},
  };
}

void SamplingConfig::check(Problems& problems) const {
  if (!picks_likeliest()) return;
  const char* reason = greedy ? "--greedy" : "--temperature 0";
  if (greedy && temperature != 1.0 && temperature != 0) {
    problems.add("--greedy takes the likeliest token whatever --temperature {} says; give one",
                 temperature);
  }
  if (top_k != 0) problems.add("{} leaves nothing for --top-k {}; give one", reason, top_k);
  if (top_p != 0) problems.add("{} leaves nothing for --top-p {}; give one", reason, top_p);
}

int64_t prompt_key(std::span<const int32_t> ids) {
  int64_t key = static_cast<int64_t>(ids.size());
  for (const int32_t id : ids) key = static_cast<int64_t>(mix_key({key, id}));
  return key;
}

std::vector<Candidate> sampling_candidates(std::span<const double> logits,
                                           const SamplingConfig& config) {
  TORCH_CHECK(config.temperature > 0, "candidates need a temperature above 0");
  std::vector<int64_t> tokens = tokens_left(logits, config);
  std::sort(tokens.begin(), tokens.end(), Likelier{logits});
  std::vector<Candidate> candidates;
  double total = 0;
  for (const int64_t token : tokens) {
    const double distance = logits[token] - logits[tokens.front()];
    candidates.push_back({token, std::exp(distance / config.temperature)});
    total += candidates.back().probability;
  }
  for (auto& candidate : candidates) candidate.probability /= total;
  return candidates;
}

int64_t pick_token(std::span<const double> logits, const SamplingConfig& config,
                   const DrawKey& key) {
  TORCH_CHECK(!logits.empty(), "no logits to pick from");
  if (config.picks_likeliest()) {
    check_numbers(logits);
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
  }
  const auto stream =
      static_cast<int64_t>(mix_key({config.seed, key.prompt, key.sample, key.position}));
  int64_t best = -1;
  double best_score = kMinusInfinity;
  for (const int64_t token : tokens_left(logits, config)) {
    const double score = logits[token] / config.temperature + gumbel(stream, token);
    if (best < 0 || score > best_score || (score == best_score && token < best)) {
      best = token;
      best_score = score;
    }
  }
  TORCH_CHECK(best >= 0, "every logit is minus infinity");
  return best;
}

}  // namespace megalith

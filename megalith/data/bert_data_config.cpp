#include "megalith/data/bert_data_config.hpp"

#include "megalith/data/bert_index.hpp"

namespace megalith {
namespace {

/// 1 / probability is rounded to an int32.
constexpr double kSmallestShortProbability = 1e-9;

}  // namespace

FieldList BertDataConfig::fields() {
  return {
      {"mask-prob", &mask_prob, "Share of the pieces of a sample that are masked."},
      {"short-seq-prob", &short_seq_prob,
       "Share of samples with a random shorter length, rounded to one in a whole number; 0: none."},
      {"bert-no-binary-head", &no_binary_head,
       "No sentence order task: a sample is one run of sentences, not a pair."},
      {"keep-long-sentences", &keep_long_sentences,
       fmt::format("Use documents with a sentence of more than {} pieces too, which Megatron-LM "
                   "leaves out whole.",
                   kLongestSentence)},
      {"clean-masking", &clean_masking,
       "Depart from Megatron-LM where its masking is odd: a word does not reach over [SEP], random "
       "pieces are ordinary entries of the vocabulary, and short samples have a masked piece too."},
  };
}

void BertDataConfig::check(int64_t sequence_length, int64_t seed, Problems& problems) const {
  if (!(mask_prob > 0 && mask_prob < 1)) {
    problems.add("--mask-prob {}: must be above 0 and below 1, such as 0.15", mask_prob);
  }
  const bool usable =
      short_seq_prob == 0 || (short_seq_prob >= kSmallestShortProbability && short_seq_prob <= 1);
  if (!usable) {
    problems.add("--short-seq-prob {}: must be 0 (no short samples) or from {} to 1",
                 short_seq_prob, kSmallestShortProbability);
  }
  if (sequence_length > 0 && sequence_length < kShortestBertSequence) {
    problems.add("--seq-length {}: a BERT sample is [CLS] A [SEP] B [SEP]; give at least {}",
                 sequence_length, kShortestBertSequence);
  }
  if (seed < 0 || seed > kLargestBertSeed) {
    problems.add("--seed {}: the order of BERT samples needs a seed from 0 to {}", seed,
                 kLargestBertSeed);
  }
}

}  // namespace megalith

#include "megalith/data/batch_loader.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <set>

#include "megalith/core/error.hpp"
#include "megalith/data/gpt_dataset.hpp"
#include "tests/data/fixed_tokens.hpp"

namespace megalith {
namespace {

constexpr int64_t kLength = 8;

std::shared_ptr<const Dataset> small_dataset(bool segments = false) {
  const auto source = std::make_shared<testing::FixedTokens>(std::vector<int32_t>{70, 30, 95, 54});
  GptIndex index = build_gpt_index(source->sequence_lengths(), {0, 4},
                                   {.sequence_length = kLength, .num_samples = 40, .seed = 5});
  return std::make_shared<GptDataset>(
      source, std::move(index),
      GptSampleOptions{
          .sequence_length = kLength, .reset_attention_mask = segments, .eod = int64_t{69}});
}

bool same(const Batch& a, const Batch& b) {
  return a.batch_size == b.batch_size && a.seq_length == b.seq_length && a.tokens == b.tokens &&
         a.labels == b.labels && a.position_ids == b.position_ids && a.loss_mask == b.loss_mask &&
         a.segment_ids == b.segment_ids && a.sample_numbers == b.sample_numbers;
}

TEST(BatchLoader, BatchesHoldTheSamplesRowByRow) {
  const auto dataset = small_dataset(true);
  BatchLoader loader(dataset, {.micro_batch_size = 3});
  const Batch batch = loader.next();
  EXPECT_EQ(batch.batch_size, 3);
  EXPECT_EQ(batch.seq_length, kLength);
  EXPECT_EQ(batch.sample_numbers, (std::vector<int64_t>{0, 1, 2}));
  ASSERT_EQ(batch.tokens.size(), 24U);
  for (int64_t row = 0; row < 3; ++row) {
    const Sample sample = dataset->sample(row);
    const auto equal = [&](const auto& rows, const auto& expected) {
      return std::equal(expected.begin(), expected.end(), rows.begin() + row * kLength);
    };
    EXPECT_TRUE(equal(batch.tokens, sample.tokens));
    EXPECT_TRUE(equal(batch.labels, sample.labels));
    EXPECT_TRUE(equal(batch.position_ids, sample.position_ids));
    EXPECT_TRUE(equal(batch.loss_mask, sample.loss_mask));
    EXPECT_TRUE(equal(batch.segment_ids, sample.segment_ids));
  }
}

TEST(BatchLoader, ResumesAtEveryCount) {
  for (const LoaderKind kind : {LoaderKind::kSingle, LoaderKind::kCyclic}) {
    LoaderOptions options{.kind = kind,
                          .micro_batch_size = 2,
                          .replica_index = 1,
                          .replica_count = 2,
                          .wrap = true,
                          .prefetch = 3};
    const auto dataset = small_dataset();
    BatchLoader whole(dataset, options);
    for (int step = 0; step < 25; ++step) {
      options.consumed_samples = whole.consumed_samples();
      EXPECT_EQ(options.consumed_samples, 4 * step);
      BatchLoader resumed(dataset, options);
      EXPECT_TRUE(same(resumed.next(), whole.next())) << step;
    }
  }
}

TEST(BatchLoader, ReplicasShareAGlobalBatchWithoutOverlap) {
  // A global batch of 12 as 1 replica x 6 micro-batches and as 3 replicas x 2.
  const auto dataset = small_dataset();
  const auto global_batch = [&](int64_t replicas) {
    std::multiset<int64_t> numbers;
    for (int64_t replica = 0; replica < replicas; ++replica) {
      BatchLoader loader(dataset, {.consumed_samples = 12,
                                   .micro_batch_size = 2,
                                   .replica_index = replica,
                                   .replica_count = replicas});
      for (int64_t i = 0; i < 6 / replicas; ++i) {
        const Batch batch = loader.next();
        numbers.insert(batch.sample_numbers.begin(), batch.sample_numbers.end());
      }
      EXPECT_EQ(loader.consumed_samples(), 24);
    }
    return numbers;
  };
  const std::multiset<int64_t> expected = {12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};
  EXPECT_EQ(global_batch(1), expected);
  EXPECT_EQ(global_batch(3), expected);
}

TEST(BatchLoader, SaysWhenTheDataAreUsedUp) {
  const auto dataset = small_dataset();
  BatchLoader loader(dataset,
                     {.consumed_samples = dataset->num_samples() - 4, .micro_batch_size = 4});
  (void)loader.next();
  for (int call = 0; call < 2; ++call) {
    try {
      (void)loader.next();
      FAIL();
    } catch (const RunError& error) {
      EXPECT_NE(std::string(error.what()).find("the training data are used up"), std::string::npos);
    }
  }
}

TEST(BatchLoader, NamesTheDocumentOfAnIdBeyondTheVocabulary) {
  // Sequence 3 holds the ids 300 … 353.
  BatchLoader loader(small_dataset(), {.micro_batch_size = 1, .vocab_size = 300});
  try {
    for (int i = 0; i < 30; ++i) (void)loader.next();
    FAIL();
  } catch (const UsageError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("fixed 3:"), std::string::npos) << text;
    EXPECT_NE(text.find("the vocabulary has 300 entries"), std::string::npos) << text;
    const auto offset = std::stol(text.substr(text.find("fixed 3:") + 8));
    EXPECT_NE(text.find(fmt::format("is id {},", 300 + offset)), std::string::npos) << text;
  }
}

/// Throws at sample 5; counts what was read.
class BrokenDataset final : public Dataset {
 public:
  int64_t num_samples() const override { return 100; }
  Sample sample(int64_t k) const override {
    ++reads;
    if (k == 5) throw RunError("the disk is gone");
    Sample sample;
    sample.tokens = sample.labels = {k};
    sample.loss_mask = {1};
    sample.position_ids = {0};
    return sample;
  }
  std::string place(int64_t, int64_t) const override { return ""; }
  int64_t tokens_per_epoch() const override { return 100; }
  int64_t min_tokens() const override { return 1; }
  std::string summary() const override { return ""; }
  mutable std::atomic<int64_t> reads = 0;
};

TEST(BatchLoader, PassesOnWhatReadingThrew) {
  BatchLoader loader(std::make_shared<BrokenDataset>(), {.micro_batch_size = 1});
  for (int64_t k = 0; k < 5; ++k) EXPECT_EQ(loader.next().tokens, std::vector<int64_t>{k});
  EXPECT_THROW((void)loader.next(), RunError);
  EXPECT_THROW((void)loader.next(), RunError);
}

TEST(BatchLoader, ReadsAheadAsFarAsAskedAndEndsItsThread) {
  const auto dataset = std::make_shared<BrokenDataset>();
  for (int i = 0; i < 50; ++i) {
    BatchLoader loader(dataset, {.consumed_samples = 10, .micro_batch_size = 1, .prefetch = 2});
    if (i % 2 == 0) (void)loader.next();
  }
  // Two ready, one in hand, and the one that was taken.
  EXPECT_LE(dataset->reads, 50 * 3 + 25);
}

}  // namespace
}  // namespace megalith

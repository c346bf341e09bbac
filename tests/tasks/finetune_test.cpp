// The parts of fine-tuning that need no process: the order of epochs, batches with padding,
// predictions that are the same on every layout and for every batch, seeds and their median.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

#include "megalith/tasks/finetune/finetune_task.hpp"
#include "megalith/tasks/finetune/seed_summary.hpp"
#include "support/numeric.hpp"
#include "support/ranks.hpp"

namespace megalith::testing {
namespace {

/// Rows of `num_sequences` sequences of growing lengths, with labels.
class FakeExamples final : public TaskExamples {
 public:
  FakeExamples(size_t count, size_t num_sequences, bool spans) : spans_(spans) {
    for (size_t i = 0; i < count; ++i) {
      rows_.emplace_back();
      for (size_t k = 0; k < num_sequences; ++k) {
        TokenFeatures sequence;
        const size_t length = 4 + (i * 5 + k) % 9;
        for (size_t j = 0; j < length; ++j) {
          sequence.ids.push_back(static_cast<int32_t>(1 + (i * 7 + k * 3 + j * 5) % 40));
          sequence.types.push_back(j >= length / 2 ? 1 : 0);
        }
        rows_.back().push_back(std::move(sequence));
      }
    }
  }
  size_t size() const override { return rows_.size(); }
  TaskRow row(size_t index) const override {
    TaskRow row{.sequences = rows_.at(index), .label = {}};
    row.label =
        spans_ ? std::vector<int64_t>{1, 2} : std::vector<int64_t>{static_cast<int64_t>(index % 2)};
    return row;
  }
  int64_t num_outputs() const override {
    return spans_ ? 0 : std::max<int64_t>(3, static_cast<int64_t>(rows_[0].size()));
  }
  bool is_labelled() const override { return true; }
  std::vector<std::string> notes() const override { return {}; }
  nlohmann::ordered_json score(const Logits&, const TaskConfig&,
                               const PredictionFiles*) const override {
    return {};
  }

 private:
  bool spans_;
  std::vector<std::vector<TokenFeatures>> rows_;
};

ModelConfig small_bert(TaskHead head, int64_t outputs) {
  ModelConfig config;
  config.num_layers = 2;
  config.hidden_size = 16;
  config.num_attention_heads = 4;
  config.max_position_embeddings = 16;
  config.vocab_size = 45;
  config.hidden_dropout = config.attention_dropout = 0;
  config.init_method_std = 0.5;
  config.become_bert(/*with_binary_head=*/true);
  set_task_head(config, head, outputs);
  return config;
}

TEST(EpochOrder, EveryExampleOnceInWholeBatchesAndTheSameForEveryLayout) {
  constexpr int64_t kExamples = 43, kBatch = 8;
  const auto epoch_of = [&](int64_t epoch, int64_t micro, int64_t ranks) {
    EpochOrder order(kExamples, kBatch, 7);
    std::vector<std::set<size_t>> batches;
    for (int64_t step = 0; step < order.steps_per_epoch(); ++step) {
      std::set<size_t> batch;
      for (int64_t done = 0; done < kBatch; done += micro * ranks) {
        const int64_t consumed = (epoch * order.steps_per_epoch() + step) * kBatch + done;
        for (int64_t rank = 0; rank < ranks; ++rank) {
          for (const size_t i : order.micro_batch(consumed, micro, rank)) {
            EXPECT_TRUE(batch.insert(i).second);
          }
        }
      }
      batches.push_back(batch);
    }
    return batches;
  };
  const auto first = epoch_of(0, 2, 1);
  ASSERT_EQ(first.size(), 5u);
  std::set<size_t> all;
  for (const auto& batch : first) {
    EXPECT_EQ(batch.size(), 8u);
    all.insert(batch.begin(), batch.end());
  }
  EXPECT_EQ(all.size(), 40u);
  EXPECT_LT(*all.rbegin(), 43u);
  EXPECT_EQ(epoch_of(0, 4, 2), first);
  EXPECT_EQ(epoch_of(0, 2, 4), first);
  EXPECT_NE(epoch_of(1, 2, 1), first);
  EXPECT_EQ(epoch_of(1, 4, 2), epoch_of(1, 2, 1));
  EXPECT_THROW(EpochOrder(kExamples, kBatch, 7).check_position(12), UsageError);
}

TEST(ExampleBatch, PadsInStepsOfEightAndHidesThePadding) {
  const FakeExamples examples(6, 2, false);
  const std::vector<size_t> indices{0, 3};
  const auto batch = example_batch(examples, indices, {.id = 9, .longest = 12}, at::kCPU);
  // Lengths 4, 5 and 10, 11.
  EXPECT_EQ(batch.input.tokens.sizes(), (std::vector<int64_t>{4, 12}));
  EXPECT_EQ(batch.input.padding_mask.sum().item<int64_t>(), 4 + 5 + 10 + 11);
  EXPECT_EQ(batch.input.tokens[0][4].item<int64_t>(), 9);
  EXPECT_EQ(batch.input.position_ids[3][11].item<int64_t>(), 11);
  EXPECT_TRUE(at::equal(batch.targets.labels, at::tensor({0, 1}, at::kLong)));
  const auto fixed = example_batch(examples, indices, {.id = 9, .length = 16}, at::kCPU);
  EXPECT_EQ(fixed.input.tokens.size(1), 16);
  const FakeExamples spans(3, 1, true);
  const std::vector<size_t> three{0, 1, 2};
  EXPECT_EQ(example_batch(spans, three, {.longest = 16}, at::kCPU).targets.labels.sizes(),
            (std::vector<int64_t>{3, 2}));
}

TEST(PredictExamples, AreTheSameForEveryLayoutAndBatch) {
  struct Case {
    TaskHead head;
    size_t sequences;
  };
  for (const auto& [head, sequences] :
       {Case{TaskHead::kClasses, 1}, Case{TaskHead::kChoices, 3}, Case{TaskHead::kSpans, 1}}) {
    const FakeExamples examples(11, sequences, head == TaskHead::kSpans);
    const ModelConfig config = small_bert(head, 3);
    const auto predicted = [&](const Layout& layout, int64_t micro_batch) {
      TaskExamples::Logits first;
      run_ranks(layout, [&](RankContext& ctx) {
        const BertModel model(config, ctx.groups(), at::kDouble, at::kCPU, 3);
        const auto mine = predict_examples(model, ctx.groups(), examples,
                                           {.micro_batch_size = micro_batch, .seq_length = 16});
        if (ctx.rank() == 0) first = mine;
      });
      return first;
    };
    const auto serial = predicted({}, 11);
    for (size_t i = 0; i < serial.size(); ++i) {
      const size_t expected =
          head == TaskHead::kSpans ? 2 * examples.row(i).sequences.front().ids.size() : 3u;
      ASSERT_EQ(serial[i].size(), expected);
    }
    for (const auto& [layout, micro] : {std::pair{Layout{}, 2},
                                        {Layout{.data = 2}, 2},
                                        {Layout{.tensor = 2, .data = 2}, 3},
                                        {Layout{.tensor = 4}, 1},
                                        {Layout{.data = 4}, 4}}) {
      const auto other = predicted(layout, micro);
      ASSERT_EQ(other.size(), serial.size());
      for (size_t i = 0; i < serial.size(); ++i) {
        ASSERT_EQ(other[i].size(), serial[i].size());
        for (size_t j = 0; j < serial[i].size(); ++j) {
          EXPECT_NEAR(other[i][j], serial[i][j], 1e-6) << i << " " << j;
        }
      }
    }
  }
}

TEST(TaskConfig, SeedsAreANumberOrAList) {
  TaskConfig config{.task = "mnli"};
  EXPECT_EQ(seeds_of(config, 7), std::vector<int64_t>{7});
  config.seeds = {3};
  EXPECT_EQ(seeds_of(config, 7), (std::vector<int64_t>{7, 8, 9}));
  config.seeds = {4, 2};
  EXPECT_EQ(seeds_of(config, 7), (std::vector<int64_t>{4, 2}));
  config.seeds = {2, 2};
  Problems problems;
  config.check(problems);
  EXPECT_EQ(problems.texts().size(), 3u);  // no train data, no dev data, a seed that comes twice
}

TEST(SeedSummary, TakesTheMedian) {
  EXPECT_EQ(median_run({0.5}), 0u);
  EXPECT_EQ(median_run({0.9, 0.1, 0.5}), 2u);
  EXPECT_EQ(median_run({0.9, 0.1, 0.5, 0.7}), 2u);
  EXPECT_EQ(median_run({0.5, 0.5, 0.5, 0.5, 0.5}), 2u);
  const TaskConfig config{.task = "squad"};
  const auto run = [](int64_t seed, double f1) {
    return SeedRun{seed, "", {{"dev", {{"f1", f1}, {"exact_match", 1.0}}}}};
  };
  const auto summary = summarize_seeds(config, {run(1, 80), run(2, 70), run(3, 90)});
  EXPECT_EQ(summary.at("median").at("seed"), 1);
  EXPECT_EQ(summary.at("dev").at("f1"), 80);
  EXPECT_NE(summary_text(summary).find("median dev f1 80, of seed 1"), std::string::npos);
}

TEST(TaskExamples, GroupsFollowTheFiles) {
  EXPECT_EQ(group_of("MNLI/dev_matched.tsv", 2), "matched");
  EXPECT_EQ(group_of("MNLI/dev_mismatched.tsv", 2), "mismatched");
  EXPECT_EQ(group_of("dev.tsv", 1), "");
  EXPECT_EQ(group_of("one.tsv", 2), "one");
}

}  // namespace
}  // namespace megalith::testing

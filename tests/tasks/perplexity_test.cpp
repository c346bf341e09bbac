// Sliding windows against transformers (tests/oracles/evaluation_reference.py), and the equations
// that hold for any model: what is scored, uniform models, layouts.
#include "megalith/tasks/perplexity.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tests/tasks/tiny_evaluation.hpp"

namespace megalith {
namespace {

using testing::load_tiny_gpt2;
using testing::RankContext;
using testing::run_ranks;

std::vector<int32_t> counted(int32_t count) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < count; ++i) ids.push_back(i);
  return ids;
}

TEST(SlidingWindows, ScoreEachTokenAfterTheFirstOnceWithTheContextTheyPromise) {
  for (const int32_t count : {2, 3, 7, 8, 9, 10, 31, 32, 33, 50}) {
    const auto stream = make_token_stream(counted(count));
    for (const int64_t window : {1, 2, 7, 8, 60}) {
      for (int64_t stride = 1; stride <= window; ++stride) {
        const RowSource rows = window_rows(*stream, {window, stride});
        int32_t next = 1;
        for (int64_t i = 0; i < rows.size; ++i) {
          const ScoringRow row = rows.row(i);
          EXPECT_LE(std::ssize(row.tokens), window);
          EXPECT_FALSE(row.targets.empty());
          EXPECT_EQ(row.tokens.front(), i * stride);
          for (const auto& [place, id] : row.targets) {
            EXPECT_EQ(id, next++) << "window " << window << " stride " << stride;
            EXPECT_EQ(row.tokens.at(place), id - 1);
          }
        }
        EXPECT_EQ(next, count);
      }
    }
  }
}

TEST(SlidingWindows, OfTheWindowsLengthArePlainChunks) {
  const auto stream = make_token_stream(counted(26));
  const RowSource rows = window_rows(*stream, {8, 8});
  ASSERT_EQ(rows.size, 4);
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(rows.row(i).tokens.size(), i < 3 ? 8U : 1U);
    EXPECT_EQ(rows.row(i).targets.size(), rows.row(i).tokens.size());
  }
}

TEST(Perplexity, AgreesWithTransformersOnEveryLayout) {
  const auto golden = testing::read_golden_json("gpt2_tiny_evaluate.json");
  const auto stream = make_token_stream(golden.at("stream").get<std::vector<int32_t>>());
  for (const auto& layout : testing::kEvaluationLayouts) {
    for (const auto& [dtype, tolerance] :
         {std::pair{at::kDouble, 1e-6}, {at::kFloat, 1e-5}}) {  // weights are stored in fp32
      run_ranks(layout, [&](RankContext& rank) {
        const GptModel model = load_tiny_gpt2(rank.groups(), dtype);
        for (const auto& row : golden.at("perplexity")) {
          const SlidingWindows windows{row.at("window"), row.at("stride")};
          for (const int64_t rows : {1, 5, 64}) {
            const auto sums = evaluate_perplexity(model, rank.groups(), *stream, windows,
                                                  {.micro_batch_size = rows});
            EXPECT_EQ(sums.tokens, stream->size() - 1);
            const double expected = row.at("perplexity");
            EXPECT_NEAR(std::exp(sums.loss()), expected, tolerance * expected) << row;
          }
        }
      });
    }
  }
}

TEST(Perplexity, DoesNotDependOnLayoutAndBatchInFp32) {
  const auto stream = make_token_stream(testing::read_golden_json("gpt2_tiny_evaluate.json")
                                            .at("stream")
                                            .get<std::vector<int32_t>>());
  std::optional<double> first;
  for (const auto& layout : testing::kEvaluationLayouts) {
    for (const int64_t rows : {1, 3, 8}) {
      double loss = 0;
      run_ranks(layout, [&](RankContext& rank) {
        const GptModel model = load_tiny_gpt2(rank.groups(), at::kFloat);
        const auto sums =
            evaluate_perplexity(model, rank.groups(), *stream, {16, 5}, {.micro_batch_size = rows});
        if (rank.rank() == 0) loss = sums.loss();
      });
      if (!first) first = loss;
      EXPECT_NEAR(loss, *first, 1e-6 * *first);
    }
  }
}

TEST(Perplexity, OfAUniformModelIsTheVocabularyWithoutPadding) {
  for (const int64_t vocabulary : {5, 96, 131}) {
    ModelConfig config = testing::tiny_evaluated_gpt2();
    config.vocab_size = vocabulary;  // padded to 128 or more, over four ranks to 512
    for (const int64_t tensor : {1, 2, 4}) {
      run_ranks({.tensor = tensor}, [&](RankContext& rank) {
        const GptModel model(config, rank.groups(), at::kFloat, at::kCPU, 1);
        for (const auto& parameter : model.parameters()) parameter.value.detach().zero_();
        const auto stream = make_token_stream({0, 1, 2, 3, 4, 3, 2, 1, 0, 4, 4, 1});
        const auto sums = evaluate_perplexity(model, rank.groups(), *stream, {4, 2}, {});
        EXPECT_EQ(sums.tokens, 11);
        EXPECT_NEAR(std::exp(sums.loss()) / static_cast<double>(vocabulary), 1, 1e-5);
      });
    }
  }
}

TEST(Perplexity, OfDamagedWeightsIsAnError) {
  const ProcessGroups groups;
  const GptModel model = load_tiny_gpt2(groups, at::kFloat);
  model.parameters()[0].value.detach().fill_(std::nan(""));
  const auto stream = make_token_stream({1, 2, 3});
  EXPECT_THROW(evaluate_perplexity(model, groups, *stream, {2, 2}, {}), RunError);
}

TEST(Scoring, LikeliestIsTheLowestOfEquals) {
  run_ranks({.tensor = 4}, [](RankContext& rank) {
    const Group& tensor = rank.groups().tensor();
    const VocabRange range = vocab_range(10, 16, tensor);  // 4 ids a rank; 4, 4, 2 and 0 are real
    at::Tensor all = at::zeros({3, 16}, at::kDouble);
    all.select(0, 0).fill_(-1).select(0, 12).fill_(9);  // padding never wins
    all[1][7] = all[1][8] = 2.5;
    all[2][9] = 1;
    const auto ids = vocab_parallel_argmax(all.narrow(1, rank.rank() * 4, 4), range, tensor);
    EXPECT_TRUE(at::equal(ids, at::tensor({0, 7, 9}, at::kLong))) << ids;
  });
}

}  // namespace
}  // namespace megalith

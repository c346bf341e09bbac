// Generation does not depend on batch company, cache or layout, and agrees with transformers'
// (tests/oracles/generate_reference.py). All in double, where no decision is as close as rounding.
#include "megalith/generation/generator.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/global_tensors.hpp"
#include "support/golden.hpp"
#include "support/ranks.hpp"

namespace megalith {
namespace {

using testing::RankContext;
using testing::run_ranks;

const Layout kLayouts[] = {
    {.tensor = 1}, {.tensor = 2}, {.tensor = 4}, {.data = 2}, {.tensor = 2, .data = 2}};

/// Initial weights so wide that continuations are varied; a vocabulary that needs padding.
ModelConfig wide_gpt2() {
  ModelConfig config;
  config.num_layers = 2;
  config.hidden_size = 32;
  config.num_attention_heads = 4;
  config.max_position_embeddings = 40;
  config.openai_gelu = true;
  config.init_method_std = 0.4;
  config.vocab_size = 53;
  config.make_vocab_size_divisible_by = 8;
  return config;
}

ModelConfig wide_llama() {
  ModelConfig config = wide_gpt2();
  config.openai_gelu = false;
  config.swiglu = true;
  config.disable_bias_linear = true;
  config.normalization = Normalization::kRmsNorm;
  config.position_embedding = PositionEmbedding::kRope;
  config.group_query_attention = true;
  config.num_query_groups_flag = 2;
  config.untie_embeddings_and_output_weights = true;
  return config;
}

const std::vector<TokenIds> kPrompts{{5, 1, 44, 2, 17, 30, 9}, {52}, {3, 3, 3, 8}, {}, {20, 21}};

GenerateOptions options_with(int64_t micro_batch_size, bool no_cache) {
  return {.micro_batch_size = micro_batch_size, .no_cache = no_cache, .end_of_text = 11};
}

std::vector<SamplingConfig> samplings() {
  SamplingConfig greedy;
  greedy.greedy = true;
  greedy.max_new_tokens = 20;
  SamplingConfig sampled;
  sampled.max_new_tokens = 20;
  sampled.num_samples = 3;
  sampled.temperature = 2.0;
  SamplingConfig filtered = sampled;
  filtered.top_k = 20;
  filtered.top_p = 0.9;
  return {greedy, sampled, filtered};
}

GptModel model_of(const ModelConfig& config, const ProcessGroups& groups) {
  return {config, groups, at::kDouble, at::kCPU, 1234};
}

std::vector<TokenIds> tokens_of(const std::vector<Continuation>& continuations) {
  std::vector<TokenIds> tokens;
  for (const auto& continuation : continuations) tokens.push_back(continuation.tokens);
  return tokens;
}

/// Each prompt alone, one rank, everything computed again for every token.
std::vector<TokenIds> alone(const ModelConfig& config, const SamplingConfig& sampling) {
  at::set_num_threads(1);
  const ProcessGroups groups;
  const GptModel model = model_of(config, groups);
  std::vector<TokenIds> all;
  for (const auto& prompt : kPrompts) {
    for (auto& ids :
         tokens_of(generate(model, groups, {prompt}, sampling, options_with(1, true)))) {
      all.push_back(std::move(ids));
    }
  }
  return all;
}

TEST(Generator, BatchCompanyCacheAndLayoutDoNotMatter) {
  for (const auto& sampling : samplings()) {
    const auto expected = alone(wide_gpt2(), sampling);
    for (const auto& layout : kLayouts) {
      run_ranks(layout, [&](RankContext& rank) {
        const GptModel model = model_of(wide_gpt2(), rank.groups());
        for (const auto& [rows, no_cache] :
             {std::pair{1, false}, {4, false}, {32, false}, {4, true}}) {
          const auto actual = tokens_of(
              generate(model, rank.groups(), kPrompts, sampling, options_with(rows, no_cache)));
          EXPECT_EQ(actual, expected) << "tensor " << layout.tensor << " data " << layout.data
                                      << " rows " << rows << " no_cache " << no_cache;
        }
      });
    }
  }
}

TEST(Generator, RotaryPositionsAndSharedHeadsUseTheCacheRight) {
  const auto sampling = samplings()[1];
  const auto expected = alone(wide_llama(), sampling);
  for (const int64_t tensor : {1, 2}) {
    run_ranks({.tensor = tensor}, [&](RankContext& rank) {
      const GptModel model = model_of(wide_llama(), rank.groups());
      EXPECT_EQ(
          tokens_of(generate(model, rank.groups(), kPrompts, sampling, options_with(8, false))),
          expected);
    });
  }
}

TEST(Generator, ContinuationsAreVariedAndSomeEndEarly) {
  // Otherwise the equalities above would say little.
  const auto sampling = samplings()[1];
  const auto all = alone(wide_gpt2(), sampling);
  int64_t ended = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    ended += static_cast<int64_t>(all[i].size()) < *sampling.max_new_tokens ? 1 : 0;
    for (size_t j = 0; j < i; ++j) EXPECT_NE(all[i], all[j]);
    EXPECT_EQ(std::count(all[i].begin(), all[i].end(), 11), 0) << "the end of text is no token";
  }
  EXPECT_GT(ended, 1);
  EXPECT_LT(ended, static_cast<int64_t>(all.size()) - 1);
}

TEST(Generator, OtherPromptsAndPlacesDoNotMatterAndCallbacksFollow) {
  const auto sampling = samplings()[1];
  const auto expected = alone(wide_gpt2(), sampling);
  const ProcessGroups groups;
  const GptModel model = model_of(wide_gpt2(), groups);
  const std::vector<TokenIds> prompts{kPrompts[2], {1, 2, 3, 4, 5, 6, 7, 8, 9}, kPrompts[0]};
  std::vector<TokenIds> seen(prompts.size() * 3);
  const auto results = generate(model, groups, prompts, sampling, options_with(5, false),
                                [&](const Continuation& row) {
                                  seen[row.prompt * 3 + row.sample].push_back(row.tokens.back());
                                });
  for (int64_t sample = 0; sample < 3; ++sample) {
    EXPECT_EQ(results[sample].tokens, expected[2 * 3 + sample]);
    EXPECT_EQ(results[6 + sample].tokens, expected[sample]);
    EXPECT_EQ(results[6 + sample].prompt, 2);
    EXPECT_EQ(results[6 + sample].sample, sample);
  }
  EXPECT_EQ(seen, tokens_of(results));
}

TEST(Generator, ContinuationGoesUpToTheLastPosition) {
  const ProcessGroups groups;
  const GptModel model = model_of(wide_gpt2(), groups);
  SamplingConfig sampling = samplings()[0];
  sampling.max_new_tokens = 33;  // 7 + 33 = 40 positions
  const auto results = generate(model, groups, {kPrompts[0]}, sampling, {.micro_batch_size = 2});
  EXPECT_EQ(results[0].tokens.size(), 33u);
  EXPECT_FALSE(results[0].ended);
}

/// Without a number each prompt gets what its own length leaves, whatever its company.
TEST(Generator, ContinuationsFillThePositionsWhenNoNumberIsGiven) {
  const ProcessGroups groups;
  const GptModel model = model_of(wide_gpt2(), groups);
  SamplingConfig sampling = samplings()[0];
  sampling.max_new_tokens.reset();
  const TokenIds full(40, 1), almost(39, 1);
  const auto results =
      generate(model, groups, {kPrompts[0], almost}, sampling, {.micro_batch_size = 2});
  EXPECT_EQ(results[0].tokens.size(), 33u);
  EXPECT_EQ(results[1].tokens.size(), 1u);
  EXPECT_THROW(generate(model, groups, {full}, sampling, {}), UsageError);
}

std::string refusal(const std::vector<TokenIds>& prompts, const GenerateOptions& options) {
  Problems problems;
  SamplingConfig sampling;
  sampling.max_new_tokens = 34;
  check_prompts(wide_gpt2(), prompts, sampling, options, problems);
  return fmt::format("{}", fmt::join(problems.texts(), "\n"));
}

TEST(Generator, WhatCannotBeContinuedIsRefusedWithNumbers) {
  const std::string too_long = refusal({{1}, kPrompts[0]}, {});
  for (const char* number : {"prompt 2", "7 tokens", "34", "41", "40", "at most 33"}) {
    EXPECT_NE(too_long.find(number), std::string::npos) << number << " in: " << too_long;
  }
  EXPECT_NE(refusal({{}}, {}).find("empty"), std::string::npos);
  EXPECT_EQ(refusal({{}}, options_with(1, false)), "");
  EXPECT_NE(refusal({{53}}, {}).find("0 to 52"), std::string::npos);
  EXPECT_EQ(refusal({{52}}, {}), "");
  const ProcessGroups groups;
  const GptModel model = model_of(wide_gpt2(), groups);
  EXPECT_THROW(generate(model, groups, {TokenIds(40, 1)}, {}, {}), UsageError);
}

TEST(Generator, DamagedWeightsEndInAnError) {
  const ProcessGroups groups;
  const GptModel model = model_of(wide_gpt2(), groups);
  model.parameters()[0].value.detach().fill_(std::nan(""));
  EXPECT_THROW(generate(model, groups, {{1}}, samplings()[0], {}), RunError);
}

TEST(Generator, TinyGpt2WritesWhatTransformersWrites) {
  const auto golden = testing::read_golden_json("gpt2_tiny_generate.json");
  const auto weights = testing::read_golden_tensors("gpt2_tiny.safetensors");
  ModelConfig config = wide_gpt2();
  config.vocab_size = 96;
  config.max_position_embeddings = 16;
  SamplingConfig greedy;
  greedy.greedy = true;
  greedy.max_new_tokens = golden.at("max_new_tokens");
  SamplingConfig sampled;
  sampled.max_new_tokens = golden.at("max_new_tokens");
  sampled.num_samples = golden.at("num_samples");
  sampled.temperature = golden.at("temperature");
  sampled.top_k = golden.at("top_k");
  sampled.top_p = golden.at("top_p");
  sampled.seed = golden.at("seed");
  const auto prompts = golden.at("prompts").get<std::vector<TokenIds>>();
  for (const auto& layout : kLayouts) {
    run_ranks(layout, [&](RankContext& rank) {
      GptModel model = model_of(config, rank.groups());
      testing::load_slices(model.parameters(), weights);
      GenerateOptions options{.micro_batch_size = 4};
      EXPECT_EQ(tokens_of(generate(model, rank.groups(), prompts, greedy, options)),
                golden.at("greedy").get<std::vector<TokenIds>>());
      options.end_of_text = golden.at("end_of_text").get<int32_t>();
      EXPECT_EQ(tokens_of(generate(model, rank.groups(), prompts, sampled, options)),
                golden.at("sampled").get<std::vector<TokenIds>>());
    });
  }
}

}  // namespace
}  // namespace megalith

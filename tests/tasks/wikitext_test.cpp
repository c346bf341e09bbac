// Detokenised WikiText against Python's regular expressions (tests/oracles/wikitext_reference.py)
// and the published counts.
#include "megalith/tasks/wikitext.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "megalith/core/digest.hpp"
#include "support/golden.hpp"
#include "tests/tokenizer/golden_files.hpp"

namespace megalith {
namespace {

TEST(Wikitext, IsDetokenisedAsByRegularExpressions) {
  const auto golden = testing::read_golden_json("wikitext.json");
  for (const auto& row : golden.at("texts")) {
    const auto text = row.at("text").get<std::string>();
    EXPECT_EQ(detokenize_wikitext(text), row.at("detokenized").get<std::string>()) << row;
    EXPECT_EQ(count_original_tokens(text), row.at("original_tokens").get<int64_t>()) << row;
  }
}

TEST(Wikitext, FilesHaveThePublishedCounts) {
  const auto tokenizer = testing::make_gpt2();
  const auto golden = testing::read_golden_json("wikitext.json");
  for (const auto& row : golden.at("files")) {
    const auto path = testing::large_file(row.at("file"));
    if (!path) GTEST_SKIP() << row.at("file") << " is not here";
    std::string text = read_whole_text(*path);
    EXPECT_EQ(count_original_tokens(text), row.at("original_tokens").get<int64_t>());
    text = detokenize_wikitext(std::move(text));
    EXPECT_EQ(sha256_hex(text), row.at("sha256").get<std::string>());
    EXPECT_EQ(tokenizer->encode(text).size(), row.at("ids").get<size_t>());
  }
  EXPECT_EQ(golden.at("files")[0].at("ids"), 270330);
}

TEST(Wikitext, ReportSaysWhatThePublishedLogSays) {
  Report report("wikitext103");
  add_wikitext(report, {.tokens = 270329, .log_probability = -1e6}, 245566);
  EXPECT_EQ(report.number("token_ratio"), 1.1008449901248143);
  EXPECT_EQ(report.number("tokens"), 270329);
  EXPECT_DOUBLE_EQ(report.number("loss"), 1e6 / 270329);
  EXPECT_DOUBLE_EQ(report.number("perplexity"), std::exp(1e6 / 270329));
  EXPECT_DOUBLE_EQ(report.number("word_perplexity"), std::exp(1e6 / 245566));
  EXPECT_DOUBLE_EQ(report.number("adjusted_perplexity"), std::exp(1e6 / 245565));
  Report capped("wikitext103");
  add_wikitext(capped, {.tokens = 10, .log_probability = -400}, 9);
  EXPECT_DOUBLE_EQ(capped.number("adjusted_perplexity"), std::exp(20.0));
  EXPECT_DOUBLE_EQ(capped.number("perplexity"), std::exp(40.0));
}

}  // namespace
}  // namespace megalith

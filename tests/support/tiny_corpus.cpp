#include "support/tiny_corpus.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/process.hpp"

namespace megalith::testing {

void make_tiny_corpus(const std::string& folder, const std::string& name, int stride) {
  const std::string prefix = folder + "/" + name;
  std::ofstream text(prefix + ".jsonl");
  for (int document = 0; document < 60; ++document) {
    std::string ids;
    for (int i = 0; i < 40; ++i) ids += fmt::format("{} ", (document * 7 + i * stride) % 90);
    text << nlohmann::json{{"text", ids}}.dump() << "\n";
  }
  text.close();
  const auto result = run_process({MEGALITH_BINARY, "preprocess", "--input", prefix + ".jsonl",
                                   "--output-prefix", prefix, "--tokenizer-type", "NullTokenizer",
                                   "--vocab-size", "90", "--append-eod"});
  ASSERT_EQ(result.status, 0) << result.err;
}

}  // namespace megalith::testing

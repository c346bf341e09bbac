// megalith preprocess from outside: order whatever the number of workers, text as editors leave it,
// two runs with one prefix, a document of 50 MB.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"
#include "support/process.hpp"

#include "support/temporary_folder.hpp"

namespace megalith::testing {
namespace {

using ::testing::HasSubstr;

Words preprocess(const std::string& input, const std::string& prefix, const Words& more = {}) {
  Words words{MEGALITH_BINARY,    "preprocess",    "--input",      input, "--output-prefix", prefix,
              "--tokenizer-type", "NullTokenizer", "--vocab-size", "1000"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string bytes_of(const std::string& prefix) {
  return read_text_file(prefix + "_text_document.idx") +
         read_text_file(prefix + "_text_document.bin");
}

TEST(PreprocessRuns, KeepTheOrderWhateverTheWorkers) {
  const TemporaryFolder folder;
  std::string text;
  for (int document = 0; document < 20000; ++document) {
    text += fmt::format("{{\"text\": \"{} {} {}\"}}\n", document % 1000, document / 1000,
                        std::string(static_cast<size_t>(document % 7), ' '));
  }
  const std::string input = folder.write("in.jsonl", text);
  for (const char* workers : {"1", "4", "0"}) {
    const auto result =
        run_process(preprocess(input, folder.path(workers), {"--workers", workers}));
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(bytes_of(folder.path(workers)) == bytes_of(folder.path("1"))) << workers;
  }
}

TEST(PreprocessRuns, TakeTextAsEditorsLeaveIt) {
  const TemporaryFolder folder;
  const std::string plain = folder.write("plain.jsonl", "{\"text\": \"1 2\"}\n{\"text\": \"3\"}\n");
  const std::string edited = folder.write(
      "edited.jsonl", "\xef\xbb\xbf{\"text\": \"1 2\"}\r\n\r\n  \n{\"text\": \"3\"}");  // no end
  for (const auto& input : {plain, edited}) {
    const auto result = run_process(preprocess(input, input));
    ASSERT_EQ(result.status, 0) << result.err;
  }
  EXPECT_EQ(bytes_of(plain), bytes_of(edited));

  const std::string empty = folder.write("empty.jsonl", "{\"text\": \"\"}\n{\"text\": \"7\"}\n");
  const auto result = run_process(preprocess(empty, empty));
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("2 documents (1 without a token), 1 tokens"));
}

TEST(PreprocessRuns, WithOnePrefixAtOnceLeaveADatasetOfOneOfThem) {
  const TemporaryFolder folder;
  std::vector<std::string> inputs, expected;
  for (int i = 0; i < 2; ++i) {
    std::string text;
    for (int document = 0; document < 300 + 100 * i; ++document) {
      text += fmt::format("{{\"text\": \"{}\"}}\n", i == 0 ? "1 2 3" : "4 5");
    }
    inputs.push_back(folder.write(fmt::format("in{}.jsonl", i), text));
    ASSERT_EQ(run_process(preprocess(inputs.back(), inputs.back())).status, 0);
    expected.push_back(bytes_of(inputs.back()));
  }
  for (int round = 0; round < 5; ++round) {
    std::vector<std::unique_ptr<Process>> runs;
    for (int i = 0; i < 4; ++i) {
      runs.push_back(std::make_unique<Process>(
          preprocess(inputs[static_cast<size_t>(i % 2)], folder.path("both"))));
    }
    for (auto& run : runs) {
      const auto result = run->wait();
      EXPECT_EQ(result.status, 0) << result.err;
    }
    EXPECT_THAT(expected, ::testing::Contains(bytes_of(folder.path("both"))));
  }
  for (const auto& name : names_in(folder.path())) {
    EXPECT_THAT(name, ::testing::Not(HasSubstr("tmp")));
  }
}

TEST(PreprocessRuns, ADocumentOfFiftyMegabytesPasses) {
  const TemporaryFolder folder;
  constexpr int64_t kIds = 12'500'000;  // of four bytes each
  {
    std::ofstream out(folder.path("large.jsonl"), std::ios::binary);
    out << "{\"text\": \"";
    std::string block;
    for (int i = 0; i < 1000; ++i) block += fmt::format("{:03d} ", 100 + i % 900);
    for (int64_t i = 0; i < kIds / 1000; ++i) out << block;
    out << "\"}\n{\"text\": \"1\"}\n";
  }
  const auto result = run_process(preprocess(folder.path("large.jsonl"), folder.path("large")));
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out,
              HasSubstr(fmt::format("2 documents (0 without a token), {} tokens", kIds + 1)));
}

}  // namespace
}  // namespace megalith::testing

// A tokenizer.json from text to text: tokenize there and back, preprocess, train, generate by what
// the checkpoint recorded. That ids are right is tests/tokenizer/hugging_face_test.cpp's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "megalith/core/atomic_file.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"

namespace megalith::testing {
namespace {

using ::testing::HasSubstr;

const std::string kRoot = MEGALITH_SOURCE_DIR;

class TokenizerJson : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_.path("tok"));
    std::filesystem::copy_file(kRoot + "/tests/golden/tokenizer_json/" + GetParam() + ".json",
                               folder_.path("tok/tokenizer.json"));
  }
  std::string file(const std::string& name) const { return folder_.path(name); }
  Words tokenizer() const {
    return {"--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", file("tok")};
  }
  static ProcessResult megalith(const Words& words, const std::string& input = "") {
    return run_process(Words{MEGALITH_BINARY} + words, {.input = input}, 120);
  }
  /// The same for a run that must succeed; gives its standard output.
  static std::string output_of(const Words& words, const std::string& input = "") {
    const auto result = megalith(words, input);
    EXPECT_EQ(result.status, 0) << result.err;
    return result.out;
  }

  TemporaryFolder folder_;
};

TEST_P(TokenizerJson, FromTextToText) {
  const std::string text =
      read_text_file(kRoot + "/assets/tinyshakespeare/input.txt").substr(0, 12'000);
  folder_.write("text.txt", text);
  output_of(Words{"tokenize", file("text.txt"), "--output", file("ids")} + tokenizer());
  EXPECT_EQ(output_of(Words{"tokenize", "--decode", file("ids")} + tokenizer()), text);

  std::string lines;
  for (size_t at = 0; at + 200 < text.size(); at += 200) {
    std::string part = text.substr(at, 200);
    std::replace(part.begin(), part.end(), '\n', ' ');
    std::replace(part.begin(), part.end(), '"', '\'');
    lines += "{\"text\": \"" + part + "\"}\n";
  }
  folder_.write("text.jsonl", lines);
  output_of(Words{"preprocess", "--input", file("text.jsonl"), "--output-prefix", file("data"),
                  "--append-eod"} +
            tokenizer());
  output_of(Words{"pretrain",
                  "gpt",
                  "--num-layers",
                  "1",
                  "--hidden-size",
                  "16",
                  "--num-attention-heads",
                  "2",
                  "--seq-length",
                  "16",
                  "--max-position-embeddings",
                  "32",
                  "--micro-batch-size",
                  "2",
                  "--global-batch-size",
                  "2",
                  "--train-iters",
                  "2",
                  "--lr",
                  "1e-2",
                  "--data-path",
                  file("data_text_document"),
                  "--split",
                  "100,0,0",
                  "--eval-iters",
                  "0",
                  "--save",
                  file("save"),
                  "--num-threads",
                  "1"} +
            tokenizer());

  const Words generate{"generate",         "--load", file("save"),    "--prompt", "to be,",
                       "--max-new-tokens", "4",      "--num-threads", "1",        "--greedy"};
  const std::string written = output_of(generate);
  EXPECT_THAT(written, ::testing::StartsWith("to be,"));
  const std::string talked = output_of({"generate", "--load", file("save"), "--max-new-tokens", "4",
                                        "--num-threads", "1", "--greedy", "--interactive"},
                                       "to be,\n");
  EXPECT_THAT(written, HasSubstr(talked.substr(talked.find("> ") + 1)));

  std::filesystem::rename(file("tok"), file("moved"));
  const auto lost = megalith(generate);
  EXPECT_EQ(lost.status, 2);
  EXPECT_THAT(lost.err, HasSubstr("tok/tokenizer.json: the checkpoint's tokenizer file is no"));
  EXPECT_THAT(lost.err, HasSubstr("give --tokenizer-model"));
  EXPECT_EQ(output_of(generate + Words{"--tokenizer-model", file("moved")}), written);
}

INSTANTIATE_TEST_SUITE_P(Families, TokenizerJson, ::testing::Values("qwen2", "llama2"),
                         [](const auto& family) { return family.param; });

}  // namespace
}  // namespace megalith::testing

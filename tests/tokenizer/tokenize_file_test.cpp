// Files to ids and back, as `megalith tokenize` does it.
#include "megalith/tokenizer/tokenize_file.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "megalith/tokenizer/null_tokenizer.hpp"
#include "tests/tokenizer/golden_files.hpp"

namespace megalith {
namespace {

using testing::TemporaryFolder;

/// What tokenize_file prints.
std::string printed(const Tokenizer& tokenizer, const TokenizeOptions& options,
                    const std::string& input) {
  ::testing::internal::CaptureStdout();
  tokenize_file(tokenizer, options, input);
  return ::testing::internal::GetCapturedStdout();
}

TEST(TokenizeFile, OneTextIsOneArray) {
  const TemporaryFolder folder;
  const auto gpt2 = testing::make_gpt2();
  EXPECT_EQ(printed(*gpt2, {}, folder.write("a", "Hello world\n")), "[15496,995,198]\n");
  EXPECT_EQ(printed(*gpt2, {}, folder.write("a", "")), "[]\n");
}

TEST(TokenizeFile, LinesEndAtLineFeedsOnly) {
  const TemporaryFolder folder;
  const auto gpt2 = testing::make_gpt2();
  const TokenizeOptions lines{.lines = true};
  EXPECT_EQ(printed(*gpt2, lines,
                    folder.write("a",
                                 "a\n\nb\r\nc\xE2\x80\xA8"
                                 "d")),
            "[64]\n[]\n[65,201]\n[66,447,101,67]\n");
  EXPECT_EQ(printed(*gpt2, lines, folder.write("a", "")), "");
  EXPECT_EQ(printed(*gpt2, lines, folder.write("a", "\n")), "[]\n");
  EXPECT_EQ(printed(*gpt2, lines, folder.write("a", "a\n")), "[64]\n");
}

TEST(TokenizeFile, BlocksDoNotShow) {
  const TemporaryFolder folder;
  const auto gpt2 = testing::make_gpt2();
  std::string text;
  for (int i = 0; text.size() < 1'500'000; ++i) {
    text += (i % 7 == 0 ? "\n\n  " : " ") + std::to_string(i * 7919) + "\xC3\xA9t\xC3\xA9's ";
  }
  text += std::string(1'100'000, '-');  // more than a block without a place to cut
  const auto path = folder.write("a", text);
  const auto ids = gpt2->encode(text);
  EXPECT_EQ(nlohmann::json::parse(printed(*gpt2, {}, path)).get<std::vector<int32_t>>(), ids);
  tokenize_file(*gpt2, {.output = folder.path("out")}, path);
  EXPECT_EQ(testing::read_uint16(folder.path("out")), ids);
  EXPECT_EQ(printed(*gpt2, {.decode = true}, folder.path("out")), text);
  const std::string arrays = printed(*gpt2, {.lines = true}, path);
  EXPECT_EQ(printed(*gpt2, {.lines = true, .decode = true}, folder.write("b", arrays)),
            text + "\n");
}

TEST(TokenizeFile, WideVocabulariesWriteInt32) {
  const TemporaryFolder folder;
  const auto path = folder.write("a", "1 65535");
  tokenize_file(NullTokenizer(65'534 + 1), {.output = folder.path("wide")}, path);
  EXPECT_EQ(folder.read("wide"), std::string("\x01\0\0\0\xFF\xFF\0\0", 8));
  EXPECT_EQ(printed(NullTokenizer(65'535), {.decode = true}, folder.path("wide")), "1 65535");
  tokenize_file(NullTokenizer(65'534), {.output = folder.path("narrow")},
                folder.write("b", "1 65534"));
  EXPECT_EQ(folder.read("narrow"), std::string("\x01\0\xFE\xFF", 4));
}

TEST(TokenizeFile, OutputOfLinesHasNoEndMarks) {
  const TemporaryFolder folder;
  tokenize_file(*testing::make_gpt2(), {.lines = true, .output = folder.path("out")},
                folder.write("a", "a\n\nb\n"));
  EXPECT_EQ(testing::read_uint16(folder.path("out")), (std::vector<int32_t>{64, 65}));
}

TEST(TokenizeFile, DecodesWhatEncodeWrote) {
  const TemporaryFolder folder;
  const auto gpt2 = testing::make_gpt2();
  const TokenizeOptions decode{.decode = true};
  EXPECT_EQ(printed(*gpt2, decode, folder.write("a", "[15496, 995]\n[198]\n")), "Hello world\n");
  EXPECT_EQ(printed(*gpt2, decode, folder.write("a", "15496 995")), "Hello world");
  EXPECT_EQ(printed(*gpt2, decode, folder.write("a", "")), "");
  const TokenizeOptions lines{.lines = true, .decode = true};
  EXPECT_EQ(printed(*gpt2, lines, folder.write("a", "[15496]\n[]\n[995]\n")), "Hello\n\n world\n");
  const TokenizeOptions binary{.decode = true, .ids = IdFormat::kBinary};
  EXPECT_EQ(printed(*gpt2, binary, folder.write("a", "12")), gpt2->decode(std::vector{0x3231}));
}

TEST(TokenizeFile, MistakesLeaveNoOutput) {
  const TemporaryFolder folder;
  const NullTokenizer ids(10);
  const TokenizeOptions to_file{.output = folder.path("out")};
  EXPECT_THROW(tokenize_file(ids, to_file, folder.path("missing")), UsageError);
  EXPECT_THROW(tokenize_file(ids, to_file, folder.write("a", "1 x")), UsageError);
  const TokenizeOptions decode{.decode = true, .output = folder.path("out")};
  EXPECT_THROW(tokenize_file(ids, decode, folder.write("a", "[1, 11]")), UsageError);
  EXPECT_THROW(tokenize_file(ids, decode, folder.write("a", "[1, -1]")), UsageError);
  EXPECT_THROW(tokenize_file(ids, decode, folder.write("a", "[1, 1x]")), UsageError);
  EXPECT_THROW(tokenize_file(ids, decode, folder.write("a", "\x01\x03\x02")), UsageError);
  EXPECT_THROW(tokenize_file(ids, {}, folder.path("")), UsageError);
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a"});
}

}  // namespace
}  // namespace megalith

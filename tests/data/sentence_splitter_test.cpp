// Sentences by the rules of UAX #29: expected cuts follow the standard's own examples and rules.
#include "megalith/core/atomic_file.hpp"
#include "megalith/data/sentence_splitter.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "megalith/core/error.hpp"
#include "tests/data/test_folder.hpp"

namespace megalith {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> split(const std::string& text, bool keep_newlines = false) {
  return SentenceSplitter("english", keep_newlines).split(text);
}

TEST(SentenceSplitter, CutsAfterStops) {
  EXPECT_THAT(split("One is here. Two came! Did three? \"Yes.\" Four"),
              ElementsAre("One is here.", "Two came!", "Did three?", "\"Yes.\"", "Four"));
  // SB6 and SB8: no cut before a digit or a small letter.
  EXPECT_THAT(split("It costs 3.4 dollars etc. and more. End."),
              ElementsAre("It costs 3.4 dollars etc. and more.", "End."));
  EXPECT_THAT(split("\u4f60\u597d\u3002\u518d\u89c1\u3002"),
              ElementsAre("\u4f60\u597d\u3002", "\u518d\u89c1\u3002"));
}

TEST(SentenceSplitter, SingleLineEndsAreSpaces) {
  EXPECT_THAT(split("A sentence\nover two\r\nlines. Next\none."),
              ElementsAre("A sentence over two lines.", "Next one."));
  EXPECT_THAT(split("A heading\n\nand text.\n \t\n\nMore"),
              ElementsAre("A heading", "and text.", "More"));
  EXPECT_THAT(split(" \n\n  Trimmed. \n"), ElementsAre("Trimmed."));
  EXPECT_THAT(split(""), ElementsAre());
  EXPECT_THAT(split(" \r\n\t\n"), ElementsAre());
}

TEST(SentenceSplitter, KeepsNewlinesWhenAsked) {
  const std::string text = "  A sentence\r\nover two.\nNext one. \n\n\nLast\none.\n";
  const auto sentences = split(text, true);
  EXPECT_THAT(sentences,
              ElementsAre("  A sentence\r\nover two.\n", "Next one. \n\n\n", "Last\none."));
}

TEST(SentenceSplitter, JoinedSentencesAreTheText) {
  const std::string text =
      read_text_file(MEGALITH_SOURCE_DIR "/assets/tinyshakespeare/input.txt").substr(0, 200000);
  std::string joined;
  for (const auto& sentence : split(text, true)) joined += sentence;
  EXPECT_EQ(joined, text.substr(0, text.find_last_not_of(" \n") + 1));
}

TEST(SentenceSplitter, BrokenUtf8IsKept) {
  EXPECT_THAT(split("A \xff\xc3 one. Two \xe2\x82."),
              ElementsAre("A \xff\xc3 one.", "Two \xe2\x82."));
}

TEST(SentenceSplitter, KnowsItsLanguages) {
  EXPECT_THAT(SentenceSplitter("de", false).split("Eins. Zwei."), ElementsAre("Eins.", "Zwei."));
  EXPECT_THAT(
      testing::message_of<UsageError>([] { const SentenceSplitter lost("klingon", false); }),
      ::testing::HasSubstr("--lang klingon: not known; expected one of czech, "));
}

}  // namespace
}  // namespace megalith

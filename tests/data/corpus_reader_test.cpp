// Corpora as people have them: packed, with byte order marks, CR LF, blank lines, damage.
#include "megalith/data/corpus_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "megalith/core/error.hpp"
#include "tests/data/test_folder.hpp"

namespace megalith {
namespace {

using ::testing::ElementsAre;
using testing::gzipped;
using ::testing::HasSubstr;
using testing::message_of;
using testing::TestFolder;
using testing::zstd_packed;

std::vector<RawDocument> read_all(const std::vector<std::string>& inputs,
                                  DocumentSeparator separator = DocumentSeparator::kFile,
                                  int64_t blank_lines = 1) {
  int64_t skipped = 0;
  CorpusReader reader(list_corpus_files(inputs, skipped), separator, blank_lines);
  std::vector<RawDocument> documents;
  for (RawDocument document; reader.next(document);) documents.push_back(document);
  return documents;
}

std::vector<std::string> texts(const std::vector<RawDocument>& documents) {
  std::vector<std::string> out;
  for (const auto& document : documents) out.push_back(document.text);
  return out;
}

std::string parse_error(std::string line, const std::vector<std::string>& keys = {"text"}) {
  line.reserve(line.size() + 64);
  JsonLineParser parser(keys);
  return message_of<UsageError>([&] { parser.parse(line); });
}

TEST(CorpusReader, LinesWithByteOrderMarkCarriageReturnsAndBlankOnes) {
  const TestFolder folder;
  const auto path =
      folder.write("a.jsonl", "\xef\xbb\xbf{\"a\": 1}\r\n\n  \t\r\n{\"b\": 2}\n{\"c\": 3}");
  const auto documents = read_all({path});
  EXPECT_THAT(texts(documents), ElementsAre("{\"a\": 1}\r", "{\"b\": 2}", "{\"c\": 3}"));
  EXPECT_EQ(documents[0].line, 1);
  EXPECT_EQ(documents[1].line, 4);
  EXPECT_EQ(documents[2].line, 5);
  EXPECT_EQ(documents[2].position, static_cast<int64_t>(std::filesystem::file_size(path)));
}

TEST(CorpusReader, PlainTextIsOneDocumentWithItsBytes) {
  const TestFolder folder;
  const auto path = folder.write("a.txt", "\xef\xbb\xbfOne\r\n\r\nTwo\r\n");
  const auto documents = read_all({path});
  EXPECT_THAT(texts(documents), ElementsAre("One\r\n\r\nTwo\r\n"));
  EXPECT_FALSE(documents[0].is_json);
  EXPECT_THAT(texts(read_all({folder.write("empty.txt", "")})), ElementsAre(""));
}

TEST(CorpusReader, ParagraphsEndAtBlankLines) {
  const TestFolder folder;
  const auto read = [&](const std::string& text) {
    return texts(read_all({folder.write("a.txt", text)}, DocumentSeparator::kBlankLine));
  };
  EXPECT_THAT(read("a\nb\n\nc\n"), ElementsAre("a\nb", "c"));
  EXPECT_THAT(read("\n\n a\r\nb\r\n \t\r\n\r\nc"), ElementsAre(" a\r\nb", "c"));
  EXPECT_THAT(read("a\n\n\n\n"), ElementsAre("a"));
  EXPECT_THAT(read("\xef\xbb\xbf\n\na"), ElementsAre("a"));
  EXPECT_THAT(read(""), ElementsAre());
  EXPECT_THAT(read("\n \n"), ElementsAre());
}

TEST(CorpusReader, ChaptersEndAtSeveralBlankLinesAndKeepTheirParagraphs) {
  const TestFolder folder;
  const auto read = [&](const std::string& text) {
    return texts(read_all({folder.write("a.txt", text)}, DocumentSeparator::kBlankLine, 2));
  };
  EXPECT_THAT(read("I\n\na\nb\n\n\nII\n\nc\n"), ElementsAre("I\n\na\nb", "II\n\nc"));
  EXPECT_THAT(read("\r\n\r\n\r\nI\r\n \r\na\r\n\r\n\t\r\n\r\n\r\nII\r\n\r\n"),
              ElementsAre("I\r\n \r\na", "II"));
  EXPECT_THAT(read("a\n\n"), ElementsAre("a"));
  EXPECT_THAT(read("\n\n\n"), ElementsAre());
}

TEST(CorpusReader, PackedFilesGiveTheSameLines) {
  const TestFolder folder;
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "{\"text\": \"line " + std::to_string(i) + "\"}\n";
  text += "{\"text\": \"" + std::string(3 << 20, 'x') + "\"}\n{\"text\": \"after\"}\n";
  const size_t half = text.size() / 2;
  const auto expected = texts(read_all({folder.write("plain.jsonl", text)}));
  ASSERT_EQ(expected.size(), 20002U);
  EXPECT_EQ(texts(read_all({folder.write("a.jsonl.gz", gzipped(text))})), expected);
  EXPECT_EQ(texts(read_all({folder.write("a.jsonl.zst", zstd_packed(text))})), expected);
  // Told by their bytes, not by their names; several members or frames are one text.
  EXPECT_EQ(texts(read_all({folder.write("b.jsonl", gzipped(text.substr(0, half)) + gzipped("") +
                                                        gzipped(text.substr(half)))})),
            expected);
  EXPECT_EQ(texts(read_all({folder.write(
                "c.jsonl", zstd_packed(text.substr(0, half)) + zstd_packed(text.substr(half)))})),
            expected);
}

TEST(CorpusReader, DamagedPackedFilesAreErrors) {
  const TestFolder folder;
  const std::string text(100000, 'a');
  for (const auto& packed : {gzipped(text), zstd_packed(text)}) {
    for (const size_t size : {packed.size() - 1, packed.size() / 2, size_t{12}}) {
      const auto path = folder.write("cut.txt", packed.substr(0, size));
      EXPECT_THAT(message_of<UsageError>([&] { read_all({path}); }),
                  ::testing::AllOf(HasSubstr(path), HasSubstr("end early")))
          << size << " of " << packed.size();
    }
    std::string wrong = packed;
    wrong[wrong.size() / 2] = static_cast<char>(wrong[wrong.size() / 2] ^ 0x55);
    wrong[wrong.size() - 6] = static_cast<char>(wrong[wrong.size() - 6] ^ 0x55);
    const auto path = folder.write("wrong.txt", wrong);
    EXPECT_THAT(message_of<UsageError>([&] { read_all({path}); }), HasSubstr(path));
  }
}

TEST(CorpusReader, FoldersGiveTheirFilesSortedByName) {
  const TestFolder folder;
  folder.write("in/b.txt", "b");
  folder.write("in/a.jsonl", "{}");
  folder.write("in/README", "not read");
  folder.write("in/sub/c.txt.gz", gzipped("c"));
  folder.write("z.txt", "z");
  int64_t skipped = 0;
  const auto files = list_corpus_files({folder.path("z.txt"), folder.path("in")}, skipped);
  std::vector<std::string> names;
  for (const auto& file : files) names.push_back(file.path);
  EXPECT_THAT(names, ElementsAre(folder.path("z.txt"), folder.path("in/a.jsonl"),
                                 folder.path("in/b.txt"), folder.path("in/sub/c.txt.gz")));
  EXPECT_EQ(skipped, 1);
  EXPECT_THAT(texts(read_all({folder.path("in")})), ElementsAre("{}", "b", "c"));
}

TEST(CorpusReader, AllMissingInputsAreNamed) {
  const TestFolder folder;
  std::filesystem::create_directories(folder.path("empty"));
  int64_t skipped = 0;
  const auto text = message_of<UsageError>([&] {
    list_corpus_files({folder.path("x"), folder.path("empty"), folder.path("y")}, skipped);
  });
  EXPECT_THAT(text, ::testing::AllOf(HasSubstr(folder.path("x")), HasSubstr(folder.path("y")),
                                     HasSubstr("no file in this folder ends in .txt, .jsonl")));
}

TEST(CorpusReader, RefusesUtf16) {
  const TestFolder folder;
  const auto path = folder.write("a.txt", std::string("\xff\xfe"
                                                      "a\0",
                                                      4));
  EXPECT_THAT(message_of<UsageError>([&] { read_all({path}); }), HasSubstr("UTF-16"));
}

TEST(JsonLineParser, TakesKeysInTheirOrder) {
  std::string line =
      R"({"a": "\u00e9\n", "skip": [1, {"b": "no"}], "b": ["x", "", "y"], "a": "last"})";
  line.reserve(line.size() + 64);
  JsonLineParser parser({"b", "a"});
  const auto& found = parser.parse(line);
  EXPECT_THAT(found[0], ElementsAre("x", "", "y"));
  EXPECT_THAT(found[1], ElementsAre("last"));
}

TEST(JsonLineParser, SaysWhatIsWrong) {
  EXPECT_THAT(parse_error("{\"text\": \"a\""), HasSubstr("not valid JSON"));
  EXPECT_THAT(parse_error("{\"text\": \"a\"} x"), HasSubstr("not valid JSON"));
  EXPECT_THAT(parse_error("{\"text\": \"a\xff\"}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(parse_error("plain text"), HasSubstr("not valid JSON"));
  EXPECT_THAT(parse_error("[\"text\"]"), HasSubstr("holds a list; expected an object"));
  EXPECT_THAT(parse_error("{\"body\": \"a\", \"id\": 1}"),
              HasSubstr("has no key 'text'; its keys: body, id"));
  EXPECT_THAT(parse_error("{\"text\": null}"), HasSubstr("key 'text' holds null"));
  EXPECT_THAT(parse_error("{\"text\": [\"a\", 1]}"), HasSubstr("a list with a number in it"));
  EXPECT_EQ(parse_error("{\"text\": \"a\"}\r"), "");
}

}  // namespace
}  // namespace megalith

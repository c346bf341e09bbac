// Reading MNLI, QQP and one's own tables, and what is said about files that are broken.
#include "megalith/tasks/finetune/classification.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "megalith/tasks/finetune/text_table.hpp"
#include "tests/tasks/example_files.hpp"

namespace megalith {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::mnli_header;
using testing::mnli_row;
using testing::TemporaryFolder;
using testing::usage_error;

TEST(Mnli, ReadsColumnsByNameAndKeepsQuotes) {
  const TemporaryFolder folder;
  const auto path = folder.write("dev_matched.tsv",
                                 mnli_header() + mnli_row("0", "\"Yes", "No\" he said", "neutral") +
                                     mnli_row("7", "a", "b", "contradiction"));
  const auto set = read_mnli(path, "matched");
  EXPECT_THAT(set.classes, ElementsAre("contradiction", "entailment", "neutral"));
  ASSERT_EQ(set.examples.size(), 2U);
  EXPECT_EQ(set.examples[0].text_a, "\"Yes");
  EXPECT_EQ(set.examples[0].text_b, "No\" he said");
  EXPECT_EQ(set.examples[0].label, 2);
  EXPECT_EQ(set.examples[1].id, "7");
  EXPECT_EQ(set.examples[1].group, "matched");
  EXPECT_EQ(set.examples[1].label, 0);
  EXPECT_TRUE(set.report.texts().empty());
}

TEST(Mnli, TestFilesHaveNoLabelsAndByteOrderMarksAndCarriageReturnsGo) {
  const TemporaryFolder folder;
  const auto path =
      folder.write("test.tsv", "\xEF\xBB\xBFindex\tsentence1\tsentence2\r\n3\tone\ttwo\r\n");
  const auto set = read_mnli(path, "");
  ASSERT_EQ(set.examples.size(), 1U);
  EXPECT_EQ(set.examples[0].id, "3");
  EXPECT_EQ(set.examples[0].text_b, "two");
  EXPECT_EQ(set.examples[0].label, std::nullopt);
}

TEST(Mnli, PairsWithoutGoldLabelAreLeftOutAndReported) {
  const TemporaryFolder folder;
  const auto path = folder.write(
      "dev.tsv", mnli_header() + mnli_row("0", "a", "b", "-") + mnli_row("1", "a", "b", "neutral"));
  const auto set = read_mnli(path, "");
  EXPECT_EQ(set.examples.size(), 1U);
  EXPECT_EQ(set.report.num_left_out(), 1);
  EXPECT_THAT(set.report.texts(),
              ElementsAre(path + ": left out 1 of 2, no gold label ('-'): line 2"));
}

TEST(Mnli, SaysWhatIsWrongWithLabelsIdsAndColumns) {
  const TemporaryFolder folder;
  const auto path = folder.write("dev.tsv", mnli_header() + mnli_row("0", "a", "b", "neutral") +
                                                mnli_row("0", "a", "b", "maybe"));
  EXPECT_EQ(
      usage_error([&] { read_mnli(path, ""); }),
      "2 mistakes:\n  - " + path +
          ": line 3: the id '0' was there before, at line 2; ids must be unique\n  - " + path +
          ": line 3: the label is 'maybe', and the classes are contradiction, entailment, neutral");
  const auto other = folder.write("other.tsv", "index\tpremise\tsentence1\n0\ta\tb\n");
  EXPECT_EQ(usage_error([&] { read_mnli(other, ""); }),
            other +
                ": line 1: has no column 'sentence2', did you mean 'sentence1'?; its columns are "
                "index, premise, sentence1");
  EXPECT_THAT(usage_error([&] { read_mnli(folder.write("empty.tsv", ""), ""); }),
              HasSubstr("is empty; expected a first line with the columns' names"));
  EXPECT_THAT(usage_error([&] { read_mnli(folder.path("none.tsv"), ""); }), HasSubstr("none.tsv"));
}

std::string qqp_rows(int count) {
  std::string text = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n";
  for (int i = 0; i < count; ++i) {
    text += fmt::format("{}\t1\t2\tWhy {}?\tHow {}?\t{}\n", i, i, i, i % 2);
  }
  return text;
}

TEST(Qqp, RowsWithMissingColumnsAreCountedUpToOneInAThousand) {
  const TemporaryFolder folder;
  const auto path = folder.write("train.tsv", qqp_rows(999) + "1000\t1\t2\tbroken\n");
  const auto set = read_qqp(path);
  EXPECT_EQ(set.examples.size(), 999U);
  EXPECT_EQ(set.examples[1].label, 1);
  EXPECT_THAT(set.report.texts(),
              ElementsAre(path + ": left out 1 of 1000, not the 6 columns of the first line: line "
                                 "1001 (4 columns)"));
  const auto worse = folder.write("worse.tsv", qqp_rows(997) + "a\tb\nc\n");
  EXPECT_THAT(usage_error([&] { read_qqp(worse); }),
              AllOf(HasSubstr("left out 2 of 999"), HasSubstr("line 999 (2 columns), line 1000"),
                    HasSubstr("More than one row in a thousand is broken")));
}

TEST(Qqp, EmptyQuestionsAreLeftOutWhereThereAreLabels) {
  const TemporaryFolder folder;
  const auto path = folder.write("train.tsv", qqp_rows(2) + "7\t1\t2\t\tHow?\t0\n");
  EXPECT_EQ(read_qqp(path).report.num_left_out("question1 is empty"), 1);
  const auto test = folder.write("test.tsv", "id\tquestion1\tquestion2\n0\t\tHow?\n");
  EXPECT_EQ(read_qqp(test).examples.size(), 1U);
}

TEST(Tables, CsvFieldsHoldCommasQuotesAndLineBreaks) {
  const TemporaryFolder folder;
  const auto path =
      folder.write("a.csv",
                   "\xEF\xBB\xBFtext,label,id\r\n\"one, \"\"two\"\"\r\nthree\",x,1\r\n"
                   "plain \"quote\",y,2\r\n,z,\"\"\r\n");
  const TextTable table = read_csv(path);
  EXPECT_THAT(table.columns, ElementsAre("text", "label", "id"));
  ASSERT_EQ(table.rows.size(), 3U);
  EXPECT_THAT(table.rows[0].fields, ElementsAre("one, \"two\"\r\nthree", "x", "1"));
  EXPECT_THAT(table.rows[1].fields, ElementsAre("plain \"quote\"", "y", "2"));
  EXPECT_THAT(table.rows[2].fields, ElementsAre("", "z", ""));
  EXPECT_EQ(table.rows[0].line, 2);
  EXPECT_EQ(table.rows[1].line, 4);
  EXPECT_EQ(table.rows[2].line, 5);
}

TEST(Tables, SayWhereCsvIsBroken) {
  const TemporaryFolder folder;
  const auto error = [&](const char* text) {
    const auto path = folder.write("a.csv", text);
    return usage_error([&] { read_csv(path); });
  };
  EXPECT_THAT(error("a,b\n1,\"open\n2,3\n"),
              HasSubstr("a.csv: line 2: the quote that opens the field '\"open"));
  EXPECT_THAT(error("a,b\n\"1\" x,2\n"),
              HasSubstr("line 2: text follows the closing quote of '1'"));
  EXPECT_THAT(error("a,b\n1,2,3\n"), HasSubstr("line 2: has 3 fields and the first line 2; put"));
  EXPECT_THAT(error("a,a\n1,2\n"), HasSubstr("line 1: two columns are named 'a'"));
  EXPECT_THAT(error("a,b\n\xff,2\n"), HasSubstr("line 2: is not UTF-8"));
}

TEST(OwnClassification, ReadsCsvTsvAndJsonLinesAlike) {
  const TemporaryFolder folder;
  const auto csv = folder.write("a.csv", "text,label\n\"a, b\",10\nc,9\n");
  const auto tsv = folder.write("a.tsv", "text\tlabel\na, b\t10\nc\t9\n");
  const auto lines = folder.write("a.jsonl",
                                  "{\"text\":\"a, b\",\"label\":10}\n\n"
                                  "{\"text\":\"c\",\"label\":\"9\"}\n");
  for (const auto& path : {csv, tsv, lines}) {
    const auto set = read_classification(path, {});
    EXPECT_THAT(set.classes, ElementsAre("9", "10")) << path;
    ASSERT_EQ(set.examples.size(), 2U);
    EXPECT_EQ(set.examples[0].text_a, "a, b");
    EXPECT_EQ(set.examples[0].label, 1);
    EXPECT_EQ(set.examples[1].label, 0);
  }
}

TEST(OwnClassification, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const auto lines = folder.write("a.jsonl",
                                  "{\"text\": 1.5, \"label\": 0}\n[1]\n{\"text\": \"a\"\n"
                                  "{\"label\": 0}\n{\"text\": \" \", \"label\": 1}\n");
  EXPECT_THAT(usage_error([&] { read_classification(lines, {}); }),
              AllOf(HasSubstr("line 1: \"text\" is '1.5', expected a text or a whole number"),
                    HasSubstr("line 2: is the list '[1]', expected an object"),
                    HasSubstr("line 3: is no JSON: parse error at column 1"),
                    HasSubstr("line 4: has no \"text\"; it has label"),
                    HasSubstr("line 5: 'text' is empty; fill it in or delete the row")));
  const auto csv = folder.write("a.csv", "words,label\na,2\n");
  EXPECT_THAT(
      usage_error([&] { read_classification(csv, {}); }),
      HasSubstr("has no column 'text'; its columns are words, label. Name the right one with "
                "--text-column"));
  EXPECT_THAT(usage_error([&] {
                read_classification(csv, {.text = "words", .classes = {"0", "1"}});
              }),
              HasSubstr("line 2: the label is '2', and the classes are 0, 1"));
  EXPECT_THAT(usage_error([&] { read_classification(csv, {.text = "words", .label = "gold"}); }),
              HasSubstr("has no labels ('gold'), so the classes must be given: --classes"));
}

TEST(OwnClassification, MnliAsCsv) {
  MEGALITH_LARGE_FILE(path, "mnli/dev.csv");
  const auto set = read_classification(path, {.text = "premise", .text_b = "hypothesis"});
  EXPECT_EQ(set.examples.size(), 19'647U);
  EXPECT_THAT(set.classes, ElementsAre("contradiction", "entailment", "neutral"));
}

}  // namespace
}  // namespace megalith

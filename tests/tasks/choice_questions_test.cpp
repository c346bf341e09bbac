// Reading RACE and one's own questions with choices.
#include "megalith/tasks/finetune/choice_questions.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tasks/example_files.hpp"

namespace megalith {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::usage_error;

constexpr const char* kArticle =
    R"({"answers": ["B", "D"], "options": [["a", "b", "c", "d"], ["e", "f", "g", "h"]],)"
    R"( "questions": ["Who is _ ?", "Why?"], "article": "Long ago.\nThe end.", "id": "x.txt"})";

TEST(Race, ReadsBothFoldersInTheOrderOfNumbers) {
  const TemporaryFolder folder;
  folder.write("dev/high/high10.txt", kArticle);
  folder.write("dev/high/high9.txt", std::string(kArticle) + "\n");
  folder.write("dev/middle/middle1.txt", kArticle);
  const auto set = read_race(folder.path("dev"));
  EXPECT_EQ(set.num_choices, 4);
  ASSERT_EQ(set.questions.size(), 6U);
  EXPECT_EQ(set.questions[0].id, "middle1.txt-0");
  EXPECT_EQ(set.questions[0].group, "middle");
  EXPECT_EQ(set.questions[2].id, "high9.txt-0");
  EXPECT_EQ(set.questions[5].id, "high10.txt-1");
  EXPECT_EQ(set.questions[5].group, "high");
  EXPECT_EQ(set.questions[5].label, 3);
  EXPECT_EQ(set.questions[5].context, "Long ago.\nThe end.");
  EXPECT_THAT(set.questions[5].choices, ElementsAre("e", "f", "g", "h"));
  for (const char* end : {"dev/high", "dev/high/"}) {
    const auto high = read_race(folder.path(end));
    EXPECT_EQ(high.questions.size(), 4U);
    EXPECT_EQ(high.questions[0].group, "high");
  }
}

TEST(Race, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  folder.write(
      "a/high/high1.txt",
      R"({"answers": ["E"], "options": [["a", "b", "c"]], "questions": ["Q?"], "article": ""})");
  folder.write("a/high/high2.txt", R"({"answers": ["A"], "options": [["a", "b", "c", "d"]],)"
                                   R"( "questions": ["Q?", "R?"], "article": "x"})");
  folder.write("a/high/high3.txt", R"({"answers": )");
  EXPECT_THAT(usage_error([&] { read_race(folder.path("a")); }),
              AllOf(HasSubstr("high1.txt: the article is empty"),
                    HasSubstr("high1.txt: answers/0: is '\"E\"', expected one of A, B, C, D"),
                    HasSubstr("high1.txt: options/0: has 3 options, RACE has 4"),
                    HasSubstr("high2.txt: has 2 questions, 1 lists of options and 1 answers"),
                    HasSubstr("high3.txt: is no JSON: parse error at line 1, column 13")));
  EXPECT_THAT(usage_error([&] { read_race(folder.path("none")); }),
              HasSubstr("none: is no folder; give RACE's train, dev or test"));
  std::filesystem::create_directories(folder.path("b/other"));
  EXPECT_THAT(usage_error([&] { read_race(folder.path("b")); }), HasSubstr("no .txt files in"));
}

TEST(OwnQuestions, ColumnsListsAndNames) {
  const TemporaryFolder folder;
  const auto csv = folder.write("a.csv",
                                "id,context,question,answer0,answer1,label\n"
                                "q1,\"a\nb\",why?,x,y,1\nq2,c,who?,x,\"z, z\",0\n");
  const auto set = read_multiple_choice(csv, {.id = "id"});
  EXPECT_EQ(set.num_choices, 2);
  ASSERT_EQ(set.questions.size(), 2U);
  EXPECT_EQ(set.questions[0].context, "a\nb");
  EXPECT_EQ(set.questions[0].label, 1);
  EXPECT_THAT(set.questions[1].choices, ElementsAre("x", "z, z"));
  const auto lines = folder.write(
      "a.jsonl", "{\"query\": \"text\", \"choices\": [\"no\", \"yes\"], \"gold\": 1}\n");
  const auto own =
      read_multiple_choice(lines, {.context = "query", .question = "", .label = "gold"});
  EXPECT_THAT(own.questions[0].choices, ElementsAre("no", "yes"));
  EXPECT_EQ(own.questions[0].label, 1);
  EXPECT_EQ(own.questions[0].id, "1");
}

TEST(OwnQuestions, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const auto csv = folder.write("a.csv",
                                "id,context,question,answer0,answer1,label\n"
                                "q,a,b,x,y,2\nq,a,b,x,y,one\nr,,b,x,,0\n");
  EXPECT_THAT(
      usage_error([&] { read_multiple_choice(csv, {.id = "id"}); }),
      AllOf(HasSubstr("line 2: the label is '2', and the 2 choices are numbered 0 to 1"),
            HasSubstr("line 3: the label is 'one'"),
            HasSubstr("line 3: the id 'q' was there before, at line 2"),
            HasSubstr("line 4: 'context' is empty"), HasSubstr("line 4: a choice is empty")));
  const auto lines =
      folder.write("a.jsonl",
                   "{\"context\": \"c\", \"question\": \"q\", \"choices\": [\"a\", \"b\"]}\n"
                   "{\"context\": \"c\", \"question\": \"q\", \"choices\": [\"a\", 1]}\n"
                   "{\"context\": \"c\", \"question\": \"q\"}\n");
  EXPECT_THAT(
      usage_error([&] { read_multiple_choice(lines, {}); }),
      AllOf(HasSubstr("line 2: choices: holds '1', expected texts"),
            HasSubstr("line 3: has no answer0, answer1, ... and no list \"choices\"; it has "
                      "context, question. Name the choices with --choices-column")));
}

TEST(OwnQuestions, CosmosAndBoolq) {
  MEGALITH_LARGE_FILE(cosmos, "cosmosqa/valid.csv");
  const auto set = read_multiple_choice(cosmos, {.id = "id"});
  EXPECT_EQ(set.questions.size(), 2'985U);
  EXPECT_EQ(set.num_choices, 4);
  MEGALITH_LARGE_FILE(boolq, "boolq/boolq.jsonl");
  const auto yes_no =
      read_multiple_choice(boolq, {.context = "query", .question = "", .label = "gold"});
  EXPECT_EQ(yes_no.questions.size(), 3'270U);
  EXPECT_EQ(yes_no.num_choices, 2);
}

}  // namespace
}  // namespace megalith

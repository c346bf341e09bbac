// The factory, its complaints, NullTokenizer, cutting texts, and upstream's description blocks.
#include "megalith/tokenizer/tokenizer.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "megalith/core/atomic_file.hpp"
#include "megalith/tokenizer/null_tokenizer.hpp"
#include "megalith/tokenizer/unicode.hpp"
#include "tests/tokenizer/golden_files.hpp"

namespace megalith {
namespace {

using Ids = std::vector<int32_t>;
using testing::TemporaryFolder;

/// The message of the UsageError that making a tokenizer throws.
std::string complaint(const TokenizerConfig& config) {
  try {
    make_tokenizer(config);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

std::string gpt2_complaint(const std::string& vocabulary, const std::string& merges) {
  const TemporaryFolder folder;
  return complaint({.tokenizer_type = "GPT2BPETokenizer",
                    .vocab_file = folder.write("vocab.json", vocabulary),
                    .merge_file = folder.write("merges.txt", merges)});
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

TEST(MakeTokenizer, NamesMissingAndSuperfluousFlags) {
  expect_contains(complaint({}), "--tokenizer-type is missing");
  expect_contains(complaint({.tokenizer_type = "GPT2BPETokeniser"}),
                  "did you mean GPT2BPETokenizer?");
  const std::string both = complaint({.tokenizer_type = "GPT2BPETokenizer"});
  expect_contains(both, "--vocab-file is missing");
  expect_contains(both, "--merge-file is missing");
  expect_contains(complaint({.tokenizer_type = "BertWordPieceCase", .merge_file = "m"}),
                  "--merge-file m");
  expect_contains(complaint({.tokenizer_type = "NullTokenizer", .vocab_file = "v"}),
                  "--vocab-size is missing");
  expect_contains(complaint({.tokenizer_type = "NullTokenizer", .vocab_size = 1LL << 40}),
                  "--vocab-size must be");
}

TEST(MakeTokenizer, VocabSizeMustFitTheFile) {
  TokenizerConfig config{
      .tokenizer_type = "BertWordPieceCase",
      .vocab_file = testing::repository_file("tests/golden/bert-vocab/cased.txt")};
  config.vocab_size = 28'996;
  EXPECT_EQ(complaint(config), "");
  config.vocab_size = 28'997;
  expect_contains(complaint(config), "28996 entries");
}

TEST(MakeTokenizer, NamesWhatIsWrongWithGpt2Files) {
  expect_contains(complaint({.tokenizer_type = "GPT2BPETokenizer",
                             .vocab_file = "/nowhere/vocab.json",
                             .merge_file = "/nowhere/merges.txt"}),
                  "/nowhere/vocab.json");
  expect_contains(gpt2_complaint("", ""), "not a JSON file");
  expect_contains(gpt2_complaint("[1]", ""), "expected a JSON object");
  expect_contains(gpt2_complaint("{}", ""), "empty");
  expect_contains(gpt2_complaint("{\"\xFF\": 0}", ""), "not a JSON file");
  expect_contains(gpt2_complaint(R"({"a": "x"})", ""), "the id of 'a' is not a whole number");
  expect_contains(gpt2_complaint(R"({"a": 0, "b": 2})", ""), "'b' has the id 2");
  expect_contains(gpt2_complaint(R"({"a": 0, "b": 0})", ""), "the id 0 of 'b' is taken");
  expect_contains(gpt2_complaint(R"({"a": 0, "b": 1})", "#version: 0.2\nab\n"), "line 2");
  expect_contains(gpt2_complaint(R"({"a": 0, "b": 1})", "a b c\n"), "line 1");
  expect_contains(gpt2_complaint(R"({"a": 0, "b": 1})", "a c\n"), "'c' is not in");
  expect_contains(gpt2_complaint(R"({"a": 0, "b": 1})", "a b\n"), "'ab' is not in");
}

TEST(MakeTokenizer, NamesWhatIsWrongWithBertFiles) {
  const TemporaryFolder folder;
  const auto bert = [&](const std::string& text) {
    return complaint(
        {.tokenizer_type = "BertWordPieceCase", .vocab_file = folder.write("vocab.txt", text)});
  };
  expect_contains(bert("a\n"), "[UNK]");
  expect_contains(bert("[UNK]\na\na\n"), "line 3");
  expect_contains(bert("[UNK]\n\xFF\n"), "not UTF-8");
  EXPECT_EQ(bert("[UNK]\r\na"), "");
}

TEST(MakeTokenizer, SmallVocabulariesWork) {
  const TemporaryFolder folder;
  const auto tokenizer = make_tokenizer(
      {.tokenizer_type = "GPT2BPETokenizer",
       .vocab_file = folder.write("v.json", R"({"a":0,"b":1,"ab":2,"\u0120":3,"ba":4,"<x y>":5})"),
       .merge_file = folder.write("m.txt", "a b\n")});
  EXPECT_EQ(tokenizer->encode("abba ab"), (Ids{2, 1, 0, 3, 2}));  // no merge leads to "ba"
  EXPECT_EQ(tokenizer->decode(Ids{2, 3, 4, 5}), "ab ba<x y>");
  EXPECT_EQ(tokenizer->eod(), std::nullopt);
  EXPECT_THROW(tokenizer->require_eod("--append-eod"), UsageError);
  try {
    tokenizer->encode("abc");
    FAIL();
  } catch (const UsageError& error) {
    expect_contains(error.what(), "0x63");
  }
}

TEST(NullTokenizer, IdsAsText) {
  const NullTokenizer tokenizer(100);
  EXPECT_EQ(tokenizer.vocab_size(), 101);
  EXPECT_EQ(tokenizer.eod(), 100);
  EXPECT_EQ(tokenizer.encode("1 22  0\n99 100"), (Ids{1, 22, 0, 99, 100}));
  EXPECT_EQ(tokenizer.encode(""), Ids());
  EXPECT_EQ(tokenizer.encode(" \n"), Ids());
  EXPECT_EQ(tokenizer.decode(Ids{1, 22, 0}), "1 22 0");
  for (const char* text : {"101", "-1", "x", "1.5", "1,2", "99999999999999999999", "\xFF"}) {
    EXPECT_THROW(tokenizer.encode(text), UsageError) << text;
  }
}

// The blocks of tests/golden/upstream/cache_names.json, key order included.
TEST(Description, IsUpstreams) {
  const auto golden = nlohmann::ordered_json::parse(
      read_text_file(testing::repository_file("tests/golden/upstream/cache_names.json")));
  const auto block = [&](const std::string& name) {
    for (const auto& row : golden["cases"]) {
      if (row["name"] == name) {
        return nlohmann::ordered_json::parse(row["description"].get<std::string>())["tokenizer"];
      }
    }
    throw std::runtime_error("no case " + name);
  };
  EXPECT_EQ(NullTokenizer(50'257).description().dump(), block("gpt_null_train").dump());
  auto described = testing::make_gpt2()->description();
  described["vocab_file"] = "gpt2-vocab.json";
  described["merges_file"] = "gpt2-merges.txt";
  EXPECT_EQ(described.dump(), block("gpt_gpt2bpe_train").dump());
}

TEST(LastSafeCut, PartsGiveTheIdsOfTheWhole) {
  const auto gpt2 = testing::make_gpt2(), bert = testing::make_bert_uncased();
  const std::string text =
      "Don't  stop. \n\n\t x\xC3\xA9 \xE2\x80\x83 y 'll  12 \xCC\x81 a\xCC\x81 \xFF z  ";
  for (size_t size = 0; size <= text.size(); ++size) {
    for (const Tokenizer* tokenizer : {gpt2.get(), bert.get()}) {
      const size_t cut = tokenizer->last_safe_cut(std::string_view(text).substr(0, size));
      ASSERT_LE(cut, size);
      Ids parts = tokenizer->encode(text.substr(0, cut));
      tokenizer->append_ids(text.substr(cut), parts);
      EXPECT_EQ(parts, tokenizer->encode(text)) << size;
    }
  }
  EXPECT_EQ(gpt2->last_safe_cut("one word"), 3);
  EXPECT_EQ(gpt2->last_safe_cut("word"), 0);
  EXPECT_EQ(gpt2->last_safe_cut(" \xC3\xA9 "), 0);
}

// Python: bytes.decode("utf-8", errors="replace").
TEST(WellFormed, ReplacesMaximalSubparts) {
  const std::string r = "\xEF\xBF\xBD";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"abc", "abc"},
      {"\xFF", r},
      {"a\x80z", "a" + r + "z"},
      {"\xC0\xAF", r + r},
      {"\xE2\x82", r},
      {"\xE2\x82x", r + "x"},
      {"\xE2\x28\xA1", r + "(" + r},
      {"\xED\xA0\x80", r + r + r},
      {"\xF0\x9F\x98", r},
      {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
      {"\xF0\x80\x80\x80", r + r + r + r},
      {"\xF4\x90\x80\x80", r + r + r + r},
      {"\xF0\x9F\xC3\xA9", r + "\xC3\xA9"},
      {"\xF8\x88\x80\x80\x80", r + r + r + r + r},
      {"12345678\xE0\x9F\x80", "12345678" + r + r + r},
  };
  for (const auto& [bytes, expected] : cases) {
    std::string storage;
    EXPECT_EQ(unicode::well_formed(bytes, storage), expected);
  }
}

TEST(IncompleteTail, CountsBytesThatWaitForMore) {
  EXPECT_EQ(unicode::incomplete_tail(""), 0);
  EXPECT_EQ(unicode::incomplete_tail("abc"), 0);
  EXPECT_EQ(unicode::incomplete_tail("\xC3\xA9"), 0);
  EXPECT_EQ(unicode::incomplete_tail("a\xC3"), 1);
  EXPECT_EQ(unicode::incomplete_tail("a\xF0\x9F\x98"), 3);
  EXPECT_EQ(unicode::incomplete_tail("a\xF0\x80"), 0);
  EXPECT_EQ(unicode::incomplete_tail("\x80\x80\x80\x80"), 0);
}

}  // namespace
}  // namespace megalith

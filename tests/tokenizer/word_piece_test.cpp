// BERT ids against google-research/bert and the `tokenizers` package.
#include "megalith/tokenizer/word_piece.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/tokenizer/golden_files.hpp"

namespace megalith {
namespace {

using Ids = std::vector<int32_t>;
using testing::repository_file;

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

TEST(WordPiece, TrickyStrings) {
  const auto uncased = testing::make_bert_uncased(), cased = testing::make_bert_cased();
  for (const auto& row :
       testing::read_json_lines(repository_file("tests/golden/tokenizer/tricky_strings.jsonl"))) {
    const auto text = row["text"].get<std::string>();
    EXPECT_EQ(uncased->encode(text), row["bert_uncased"].get<Ids>()) << text;
    EXPECT_EQ(cased->encode(text), row["bert_cased"].get<Ids>()) << text;
  }
}

TEST(WordPiece, RandomHardBytes) {
  const auto uncased = testing::make_bert_uncased(), cased = testing::make_bert_cased();
  for (const auto& row :
       testing::read_json_lines(repository_file("tests/golden/tokenizer/fuzz.jsonl"))) {
    const std::string text = from_hex(row["hex"]);
    EXPECT_EQ(uncased->encode(text), row["bert_uncased"].get<Ids>()) << row["hex"];
    EXPECT_EQ(cased->encode(text), row["bert_cased"].get<Ids>()) << row["hex"];
  }
}

void expect_pieces(const WordPieceTokenizer& tokenizer, const std::string& text,
                   const std::vector<size_t>& places) {
  std::vector<TextPiece> expected;
  const Ids ids = tokenizer.encode(text);
  ASSERT_EQ(places.size(), 2 * ids.size()) << text;
  for (size_t i = 0; i < ids.size(); ++i) {
    expected.push_back({ids[i], {places[2 * i], places[2 * i + 1]}});
  }
  const auto found = tokenizer.pieces(text);
  ASSERT_EQ(found.size(), expected.size()) << text;
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_TRUE(found[i] == expected[i])
        << text << ": piece " << i << " from " << found[i].source.begin << " to "
        << found[i].source.end << ", expected " << expected[i].source.begin << " to "
        << expected[i].source.end;
  }
}

TEST(WordPiece, PlacesOfPiecesOfHardStrings) {
  const WordPieceTokenizer uncased(repository_file("tests/golden/bert-vocab/uncased.txt"),
                                   LetterCase::kLower);
  const WordPieceTokenizer cased(repository_file("tests/golden/bert-vocab/cased.txt"),
                                 LetterCase::kKeep);
  std::vector<std::string> texts;
  for (const auto& row :
       testing::read_json_lines(repository_file("tests/golden/tokenizer/tricky_strings.jsonl"))) {
    texts.push_back(row["text"]);
  }
  for (const auto& row :
       testing::read_json_lines(repository_file("tests/golden/tokenizer/fuzz.jsonl"))) {
    const std::string bytes = from_hex(row["hex"]);
    std::string storage;
    texts.emplace_back(unicode::well_formed(bytes, storage));
  }
  const auto rows =
      testing::read_json_lines(repository_file("tests/golden/tokenizer/offsets.jsonl"));
  ASSERT_EQ(rows.size(), texts.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    expect_pieces(uncased, texts[i], rows[i]["uncased"].get<std::vector<size_t>>());
    expect_pieces(cased, texts[i], rows[i]["cased"].get<std::vector<size_t>>());
  }
}

TEST(WordPiece, PlacesNeedUtf8) {
  const WordPieceTokenizer tokenizer(repository_file("tests/golden/bert-vocab/uncased.txt"),
                                     LetterCase::kLower);
  EXPECT_THROW(tokenizer.pieces("caf\xe9"), UsageError);
  EXPECT_TRUE(tokenizer.pieces("").empty());
}

/// Every line's ids followed by [SEP].
void expect_lines(const Tokenizer& tokenizer, const std::string& text, const std::string& golden) {
  Ids ids;
  std::ifstream in(text);
  for (std::string line; std::getline(in, line);) {
    tokenizer.append_ids(line, ids);
    ids.push_back(102);
  }
  EXPECT_EQ(ids, testing::read_uint16(golden));
}

TEST(WordPiece, WikiText2TestUncased) {
  MEGALITH_LARGE_FILE(text, "wikitext/wikitext.wiki.test.raw");
  MEGALITH_LARGE_FILE(golden, "tokenizer-golden/bert_uncased.wiki.test.raw.lines.u16");
  expect_lines(*testing::make_bert_uncased(), text, golden);
}

TEST(WordPiece, WikiText2TestCased) {
  MEGALITH_LARGE_FILE(text, "wikitext/wikitext.wiki.test.raw");
  MEGALITH_LARGE_FILE(golden, "tokenizer-golden/bert_cased.wiki.test.raw.lines.u16");
  expect_lines(*testing::make_bert_cased(), text, golden);
}

TEST(WordPiece, SpecialTokens) {
  for (const auto& tokenizer : {testing::make_bert_uncased(), testing::make_bert_cased()}) {
    EXPECT_EQ(tokenizer->pad(), 0);
    EXPECT_EQ(tokenizer->token_id("[UNK]"), 100);
    EXPECT_EQ(tokenizer->token_id("[CLS]"), 101);
    EXPECT_EQ(tokenizer->token_id("[SEP]"), 102);
    EXPECT_EQ(tokenizer->token_id("[MASK]"), 103);
    EXPECT_EQ(tokenizer->eod(), std::nullopt);
    EXPECT_THROW(tokenizer->require_eod("--append-eod"), UsageError);
  }
  EXPECT_EQ(testing::make_bert_uncased()->vocab_size(), 30'522);
  EXPECT_EQ(testing::make_bert_cased()->vocab_size(), 28'996);
}

TEST(WordPiece, DecodingGluesContinuations) {
  const auto tokenizer = testing::make_bert_uncased();
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("Unaffable tokenization, yes")),
            "unaffable tokenization , yes");
  EXPECT_EQ(tokenizer->decode({}), "");
  EXPECT_THROW(tokenizer->decode(Ids{30'522}), UsageError);
}

TEST(WordPiece, WordsOfMoreThanAHundredCharactersAreUnknown) {
  const auto tokenizer = testing::make_bert_uncased();
  EXPECT_NE(tokenizer->encode(std::string(100, 'a')), Ids{100});
  EXPECT_EQ(tokenizer->encode(std::string(101, 'a')), Ids{100});
  EXPECT_EQ(tokenizer->encode(std::string(2'000'000, 'a')), Ids{100});
  EXPECT_EQ(tokenizer->encode(std::string(1'000'000, ' ')), Ids());
}

}  // namespace
}  // namespace megalith

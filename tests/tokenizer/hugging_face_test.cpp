// Tokenizers read from tokenizer.json give the ids and texts of the `tokenizers` package. Files and
// golden numbers: tests/oracles/tokenizer_json.py.
#include "megalith/tokenizer/hugging_face_tokenizer.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "megalith/core/atomic_file.hpp"
#include "tests/tokenizer/golden_files.hpp"

namespace megalith {
namespace {

using Ids = std::vector<int32_t>;
using nlohmann::json;
using testing::repository_file;

const std::vector<std::string> kFamilies{"gpt2",    "llama3",       "qwen2",     "llama2",
                                         "mistral", "bert_uncased", "bert_cased"};

std::string golden_file(const std::string& name) {
  return repository_file("tests/golden/tokenizer_json/" + name);
}

json golden_json(const std::string& family) {
  return json::parse(read_text_file(golden_file(family + ".json")));
}

HuggingFaceTokenizer from(const json& file) { return HuggingFaceTokenizer(file.dump(), "t.json"); }

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

std::vector<std::string> hard_strings() {
  std::vector<std::string> texts;
  for (const auto& row :
       testing::read_json_lines(repository_file("tests/golden/tokenizer/fuzz.jsonl"))) {
    texts.push_back(from_hex(row["hex"]));
  }
  return texts;
}

TEST(HuggingFace, EveryFamilyGivesTheIdsAndTextsOfThePackage) {
  for (const auto& family : kFamilies) {
    const HuggingFaceTokenizer tokenizer(golden_file(family + ".json"));
    for (const auto& row : testing::read_json_lines(golden_file(family + ".jsonl"))) {
      const Ids ids = row["ids"];
      EXPECT_EQ(tokenizer.encode(from_hex(row["hex"])), ids) << family << " " << row["hex"];
      EXPECT_EQ(tokenizer.decode(ids), row["text"].get<std::string>())
          << family << " " << row["hex"];
    }
  }
}

/// GPT-2's own vocabulary and merges in the form of a tokenizer.json.
json gpt2_json() {
  json file = golden_json("gpt2");
  file["added_tokens"] = json::array();
  file["model"]["vocab"] = json::parse(read_text_file(repository_file("assets/gpt2/vocab.json")));
  json merges = json::array();
  std::istringstream lines(read_text_file(repository_file("assets/gpt2/merges.txt")));
  for (std::string line; std::getline(lines, line);) merges.push_back(line);
  file["model"]["merges"] = merges;
  return file;
}

TEST(HuggingFace, Gpt2sVocabularyGivesGpt2sIds) {
  const HuggingFaceTokenizer tokenizer = from(gpt2_json());
  EXPECT_EQ(tokenizer.vocab_size(), 50'257);
  EXPECT_EQ(tokenizer.eod(), 50'256);
  for (const auto& row :
       testing::read_json_lines(repository_file("tests/golden/tokenizer/tricky_strings.jsonl"))) {
    EXPECT_EQ(tokenizer.encode(row["text"].get<std::string>()), row["gpt2"].get<Ids>());
  }
  MEGALITH_LARGE_FILE(text, "wikitext/wikitext.wiki.test.raw");
  MEGALITH_LARGE_FILE(golden, "tokenizer-golden/gpt2.wiki.test.raw.u16");
  Ids ids = tokenizer.encode(read_text_file(text));
  ids.push_back(50'256);
  EXPECT_EQ(ids, testing::read_uint16(golden));
}

TEST(HuggingFace, MiniLmsFileGivesBertsIds) {
  MEGALITH_LARGE_FILE(file, "bert-minilm/tokenizer.json");
  const HuggingFaceTokenizer tokenizer(file);
  EXPECT_EQ(tokenizer.vocab_size(), 30'522);
  EXPECT_EQ(tokenizer.pad(), 0);
  EXPECT_EQ(tokenizer.eod(), std::nullopt);
  ASSERT_EQ(tokenizer.notices().size(), 2);  // truncation and padding to 128
  EXPECT_NE(tokenizer.notices()[0].find("truncation (to 128)"), std::string::npos);
  for (const auto& row :
       testing::read_json_lines(repository_file("tests/golden/tokenizer/tricky_strings.jsonl"))) {
    const auto text = row["text"].get<std::string>();
    if (text.find("[MASK]") != std::string::npos) continue;  // an added token here
    EXPECT_EQ(tokenizer.encode(text), row["bert_uncased"].get<Ids>()) << text;
  }
  EXPECT_EQ(tokenizer.encode("a [MASK]."), (Ids{1037, 103, 1012}));
  MEGALITH_LARGE_FILE(text, "wikitext/wikitext.wiki.test.raw");
  MEGALITH_LARGE_FILE(golden, "tokenizer-golden/bert_uncased.wiki.test.raw.lines.u16");
  Ids ids;
  std::istringstream lines(read_text_file(text));
  for (std::string line; std::getline(lines, line);) {
    tokenizer.append_ids(line, ids);
    ids.push_back(102);
  }
  EXPECT_EQ(ids, testing::read_uint16(golden));
}

TEST(HuggingFace, HandWrittenMatchersAgreeWithTheRegularExpressions) {
  for (const std::string family : {"llama3", "qwen2"}) {
    json file = golden_json(family);
    const HuggingFaceTokenizer by_hand = from(file);
    auto& pattern = file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"];
    pattern = "(?:" + pattern.get<std::string>() + ")";
    const HuggingFaceTokenizer by_regex = from(file);
    ASSERT_EQ(by_regex.last_safe_cut("one word"), 0);  // else both are the same code
    for (const auto& text : hard_strings()) EXPECT_EQ(by_hand.encode(text), by_regex.encode(text));
  }
}

TEST(HuggingFace, ManyThreadsShareOneExpression) {
  json file = golden_json("qwen2");
  file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\p{Lu}?\\p{Ll}+|\\s+|\\S";
  const HuggingFaceTokenizer tokenizer = from(file);
  const std::string text =
      read_text_file(repository_file("assets/tinyshakespeare/input.txt")).substr(0, 100'000);
  const Ids expected = tokenizer.encode(text);
  std::vector<Ids> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back([&] { result = tokenizer.encode(text); });
  for (auto& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, expected);
}

TEST(HuggingFace, NamesOfTheEndAndOfPadding) {
  const auto names = [](const json& file) {
    const auto tokenizer = from(file);
    return std::pair(tokenizer.eod(), tokenizer.pad());
  };
  using Optional = std::optional<int32_t>;
  EXPECT_EQ(names(golden_json("gpt2")), std::pair(Optional(700), Optional()));
  EXPECT_EQ(names(golden_json("llama3")), std::pair(Optional(700), Optional(702)));
  EXPECT_EQ(names(golden_json("llama2")), std::pair(Optional(2), Optional()));
  EXPECT_EQ(names(golden_json("bert_cased")), std::pair(Optional(), Optional(0)));
  json file = golden_json("gpt2");
  file["padding"] = {{"pad_token", "b"}, {"pad_id", 0}};
  EXPECT_EQ(names(file).second, from(file).token_id("b"));
  EXPECT_NE(names(file).second, std::nullopt);
  file["padding"]["pad_token"] = "<|endoftext|>";  // no padding of its own
  EXPECT_EQ(names(file).second, std::nullopt);
}

TEST(HuggingFace, CountsAddedTokensAndFindsThem) {
  const HuggingFaceTokenizer tokenizer(golden_file("llama3.json"));
  EXPECT_EQ(tokenizer.vocab_size(), 706);
  EXPECT_EQ(tokenizer.token_id("<mask>"), 703);
  EXPECT_EQ(tokenizer.token_id("nowhere"), std::nullopt);
  EXPECT_EQ(tokenizer.encode("<mask>"), Ids{703});
  EXPECT_EQ(tokenizer.encode(" \n <mask>"), Ids{703});             // lstrip
  EXPECT_EQ(tokenizer.encode("<sep> \n <sep>"), (Ids{704, 704}));  // rstrip
  EXPECT_EQ(tokenizer.encode("word")[0], 705);                     // single_word
  EXPECT_NE(tokenizer.encode("words")[0], 705);
  EXPECT_THROW(tokenizer.decode(Ids{706}), UsageError);
}

TEST(HuggingFace, PartsGiveTheIdsOfTheWhole) {
  std::string text = "Don't  stop.\n\n\t <mask> x\u00e9 y 'll  12 a\u0301 [MASK] The Word z  ";
  for (int i = 0; i < 3; ++i) text += text;
  for (const auto& family : kFamilies) {
    const HuggingFaceTokenizer tokenizer(golden_file(family + ".json"));
    const Ids whole = tokenizer.encode(text);
    for (size_t size = 0; size <= text.size(); ++size) {
      const size_t cut = tokenizer.last_safe_cut(std::string_view(text).substr(0, size));
      ASSERT_LE(cut, size);
      if (cut == 0) continue;
      Ids parts = tokenizer.encode(text.substr(0, cut));
      tokenizer.append_ids(text.substr(cut), parts);
      ASSERT_EQ(parts, whole) << family << " cut at " << cut;
    }
  }
  EXPECT_EQ(HuggingFaceTokenizer(golden_file("qwen2.json")).last_safe_cut("one word"), 3);
  // A token that takes the spaces after it along, a space that is put before every text.
  EXPECT_EQ(HuggingFaceTokenizer(golden_file("llama3.json")).last_safe_cut("one word"), 0);
  EXPECT_EQ(HuggingFaceTokenizer(golden_file("llama2.json")).last_safe_cut("one word"), 0);
}

TEST(HuggingFace, LongTextsAreNotQuadratic) {
  for (const auto& family : kFamilies) {
    const HuggingFaceTokenizer tokenizer(golden_file(family + ".json"));
    for (const char* unit : {"a", "\u00e9", " ", "1", "\u2581", "to be "}) {
      std::string text;
      while (text.size() < 300'000) text += unit;
      EXPECT_FALSE(tokenizer.encode(text).empty() && *unit != ' ');
    }
  }
}

TEST(HuggingFace, TextThatNoEntryExpressesIsRefused) {
  json file = golden_json("gpt2");
  auto& vocab = file["model"]["vocab"];
  const int32_t id = vocab["!"];
  vocab.erase("!");
  vocab["!!!!"] = id;
  const auto tokenizer = from(file);
  EXPECT_NO_THROW(tokenizer.encode("fine"));
  try {
    tokenizer.encode("no!");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what())
                  .find("t.json: the vocabulary has no entry for the byte "
                        "0x21"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace megalith

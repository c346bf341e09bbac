// What a tokenizer.json may not be: each mistake is named with its place, several at once.
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "megalith/core/atomic_file.hpp"
#include "megalith/tokenizer/hugging_face_tokenizer.hpp"
#include "tests/tokenizer/golden_files.hpp"

namespace megalith {
namespace {

using nlohmann::json;
using testing::repository_file;

json golden_json(const std::string& family) {
  return json::parse(
      read_text_file(repository_file("tests/golden/tokenizer_json/" + family + ".json")));
}

std::string complaint(const std::string& text) {
  try {
    HuggingFaceTokenizer(text, "t.json");
  } catch (const UsageError& error) {
    return error.what();
  }
  return "nothing";
}

/// What is said to the file of a family after `change`.
std::string complaint_after(const std::string& family, const std::function<void(json&)>& change) {
  json file = golden_json(family);
  change(file);
  return complaint(file.dump());
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "wanted: " << part << "\ngot: " << text;
}

TEST(TokenizerJson, TextThatIsNone) {
  expect_contains(complaint("{\"model\": \n  {]"),
                  "t.json: not a JSON file: parse error at line 2");
  expect_contains(complaint(""), "t.json: not a JSON file");
  expect_contains(complaint("[1]"), "t.json: has no model; expected a tokenizer.json");
  expect_contains(complaint("{\"a\": 1}"), "has no model");
  expect_contains(complaint("{\"model\": 19849}"), "has no model");  // GPT-2's vocab.json has that
  expect_contains(complaint("\"\xFF\""), "not a JSON file");
  expect_contains(complaint("{\"version\": 7e777}"), "not a JSON file: number overflow");
}

TEST(TokenizerJson, ComponentsThatAreNotSupportedAreNamedWithThoseThatAre) {
  const auto after = [](const char* part, const json& value) {
    return complaint_after("qwen2", [&](json& file) { file[part] = value; });
  };
  expect_contains(after("normalizer", {{"type", "Precompiled"}}),
                  "t.json: normalizer: the normalizer Precompiled is not supported; supported are "
                  "BertNormalizer, Lowercase");
  expect_contains(after("decoder", {{"type", "CTC"}}), "the decoder CTC is not supported");
  expect_contains(after("decoder", 5), "decoder: expected an object with a type, got 5");
  const json nested{{"type", "Sequence"},
                    {"pretokenizers", {{{"type", "Whitespace"}}, {{"type", "UnicodeScripts"}}}}};
  expect_contains(after("pre_tokenizer", nested),
                  "pre_tokenizer.pretokenizers[1]: the pre-tokenizer UnicodeScripts is not");
  expect_contains(after("version", "2.0"), "version: '2.0' is none of 1.0");
  expect_contains(complaint_after("qwen2",
                                  [](json& file) {
                                    file["model"] = {{"type", "Unigram"}};
                                  }),
                  "model: the model Unigram is not supported; supported are BPE, WordPiece");
  const json last{
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "ByteLevel"}, {"add_prefix_space", false}}, {{"type", "Whitespace"}}}}};
  expect_contains(after("pre_tokenizer", last), "follows ByteLevel");
}

TEST(TokenizerJson, PatternsThatCannotBeMatched) {
  const auto with = [](const json& pattern) {
    return complaint_after("qwen2", [&](json& file) {
      file["pre_tokenizer"]["pretokenizers"][0]["pattern"] = pattern;
    });
  };
  const std::string place = "pre_tokenizer.pretokenizers[0].pattern: ";
  expect_contains(with({{"Regex", "a("}}), place + "the pattern a(: it is no regular expression");
  expect_contains(with({{"Regex", "\\h+"}}),
                  place + "the pattern \\h+: it holds \\h, which is not");
  expect_contains(with({{"Regex", "[a&&b]"}}), "&& within brackets");
  expect_contains(with({{"Regex", "a\\"}}), "it ends in a backslash");
  expect_contains(with({{"String", ""}}), place + "an empty text matches nothing");
  expect_contains(with(json::object()), place + "expected {\"String\": \"...\"}");
}

TEST(TokenizerJson, IdsOutOfRangeTwiceOrWithHoles) {
  expect_contains(
      complaint_after("gpt2", [](json& file) { file["model"]["vocab"]["e"] = 9000; }),
      "model: 'e' has the id 9000, but 702 entries need the ids 0 to 701 without holes");
  const auto twice = complaint_after(
      "gpt2", [](json& file) { file["model"]["vocab"]["e"] = file["model"]["vocab"]["a"]; });
  expect_contains(twice, "is shared by 'a' and 'e'");
  expect_contains(complaint_after("gpt2", [](json& file) { file["model"]["vocab"]["e"] = -1; }),
                  "model.vocab: the id of 'e' is -1; expected a whole number");
  std::string text = golden_json("gpt2").dump();
  text.insert(text.find("\"vocab\":{") + 9, "\"a\":3,");
  expect_contains(complaint(text), "model.vocab: 'a' stands there twice");
  expect_contains(
      complaint_after("gpt2", [](json& file) { file["added_tokens"][0]["id"] = 800; }),
      "added_tokens[0]: '<|endoftext|>' has the id 800, but the ids before it leave for "
      "it 700");
  expect_contains(complaint_after("llama2", [](json& file) { file["added_tokens"][0]["id"] = 5; }),
                  "'<unk>' has the id 5, but the model's vocabulary gives it 0");
}

TEST(TokenizerJson, MergesOfUnknownParts) {
  const auto with = [](const json& merge) {
    return complaint_after("gpt2", [&](json& file) { file["model"]["merges"][2] = merge; });
  };
  expect_contains(with("zz q"),
                  "t.json: model.merges: [2]: 'zz' + 'q': the vocabulary has no 'zz'");
  expect_contains(with({"a", "q"}), "the vocabulary has no 'aq'");
  expect_contains(with("abc"),
                  "[2]: expected \"left right\" or [\"left\", \"right\"], got \"abc\"");
  expect_contains(with(json::array({"a"})), "expected \"left right\"");
  const auto many = complaint_after("gpt2", [](json& file) {
    for (auto& merge : file["model"]["merges"]) merge = 1;
  });
  expect_contains(many, "more like it");
}

TEST(TokenizerJson, WhatBytePairsAndWordPiecesNeed) {
  expect_contains(complaint_after("gpt2", [](json& file) { file["model"].erase("vocab"); }),
                  "model.vocab: is missing");
  expect_contains(complaint_after("gpt2", [](json& file) { file["model"].erase("merges"); }),
                  "model.merges: is missing");
  expect_contains(complaint_after("gpt2", [](json& file) { file["model"]["dropout"] = 0.1; }),
                  "model.dropout: 0.1: merges left out at random are not supported");
  expect_contains(
      complaint_after("gpt2", [](json& file) { file["model"]["end_of_word_suffix"] = "</w>"; }),
      "model.end_of_word_suffix: \"</w>\" is not supported");
  expect_contains(
      complaint_after("bert_cased", [](json& file) { file["model"]["unk_token"] = "[NO]"; }),
      "model.unk_token: the vocabulary has no '[NO]'");
  expect_contains(
      complaint_after("bert_cased",
                      [](json& file) { file["model"]["max_input_chars_per_word"] = -1; }),
      "expected a whole number, got -1");
}

TEST(TokenizerJson, AllMistakesAtOnce) {
  const auto text = complaint_after("llama3", [](json& file) {
    file["normalizer"] = {{"type", "Nmt"}};
    file["decoder"] = {{"type", "BPEDecoder"}};
    file["model"]["merges"][0] = "no such";
    file["added_tokens"][1].erase("lstrip");
    file["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Cut";
  });
  expect_contains(text, "normalizer: the normalizer Nmt");
  expect_contains(text, "decoder: the decoder BPEDecoder");
  expect_contains(text, "model.merges: [0]");
  expect_contains(text, "added_tokens[1].lstrip: is missing");
  expect_contains(text, "behavior: 'Cut' is none of Removed, Isolated");
}

TEST(TokenizerJson, TwoAddedTokensOfOneTextAreRefused) {
  expect_contains(complaint_after("bert_uncased",
                                  [](json& file) {
                                    json token = file["added_tokens"].back();
                                    for (const char* content : {"Same", "same"}) {
                                      token["content"] = content;
                                      token["normalized"] = true;
                                      token["id"] = token["id"].get<int>() + 1;
                                      file["added_tokens"].push_back(token);
                                    }
                                  }),
                  "are both 'same' when normalized");
}

TEST(TokenizerJson, FoldersAndModelFiles) {
  const testing::TemporaryFolder folder;
  const auto made = [&](const std::string& path) {
    try {
      make_tokenizer({.tokenizer_type = "HuggingFaceTokenizer", .tokenizer_model = path});
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  const auto model = folder.write("tokenizer.model", "\n\x07");
  expect_contains(made(model), "tokenizer.model: a SentencePiece or tiktoken model is not read");
  expect_contains(made(folder.path("")), "save_pretrained");
  folder.write("tokenizer.json", golden_json("qwen2").dump());
  EXPECT_EQ(made(folder.path("")), "nothing");
  EXPECT_EQ(made(folder.path("tokenizer.json")), "nothing");
  expect_contains(made(folder.path("no.json")), "--tokenizer-model");
  try {
    make_tokenizer(
        {.tokenizer_type = "HuggingFaceTokenizer", .vocab_file = "v", .merge_file = "m"});
    FAIL();
  } catch (const UsageError& error) {
    expect_contains(error.what(), "--tokenizer-model is missing: HuggingFaceTokenizer reads a");
    expect_contains(error.what(), "--vocab-file v: HuggingFaceTokenizer reads the vocabulary from");
    expect_contains(error.what(), "--merge-file m: HuggingFaceTokenizer reads merges from");
  }
}

}  // namespace
}  // namespace megalith

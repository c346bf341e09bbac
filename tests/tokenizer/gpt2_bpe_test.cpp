// GPT-2 ids against published vectors, the `tokenizers` and tiktoken packages, and whole corpora.
#include "megalith/tokenizer/gpt2_bpe.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/digest.hpp"
#include "tests/tokenizer/golden_files.hpp"

namespace megalith {
namespace {

using Ids = std::vector<int32_t>;
using testing::repository_file;

std::string ids_sha256(const Ids& ids) { return sha256_hex(std::as_bytes(std::span(ids))); }

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

/// Byte pair encoding as the paper states it: merge the best pair, leftmost first, until none is
/// left.
Ids naive_merges(Ids ids,
                 const std::map<std::pair<int32_t, int32_t>, std::pair<size_t, int32_t>>& merges) {
  while (true) {
    size_t best = SIZE_MAX, place = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = merges.find({ids[i], ids[i + 1]});
      if (found != merges.end() && found->second.first < best) {
        best = found->second.first;
        place = i;
      }
    }
    if (best == SIZE_MAX) return ids;
    ids[place] = merges.at({ids[place], ids[place + 1]}).second;
    ids.erase(ids.begin() + static_cast<int64_t>(place) + 1);
  }
}

TEST(Gpt2Bpe, TrickyStrings) {
  const auto tokenizer = testing::make_gpt2();
  for (const auto& row :
       testing::read_json_lines(repository_file("tests/golden/tokenizer/tricky_strings.jsonl"))) {
    const auto text = row["text"].get<std::string>();
    EXPECT_EQ(tokenizer->encode(text), row["gpt2"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer->decode(row["gpt2"].get<Ids>()), text);
  }
}

TEST(Gpt2Bpe, RandomHardBytes) {
  const auto tokenizer = testing::make_gpt2();
  for (const auto& row :
       testing::read_json_lines(repository_file("tests/golden/tokenizer/fuzz.jsonl"))) {
    EXPECT_EQ(tokenizer->encode(from_hex(row["hex"])), row["gpt2"].get<Ids>()) << row["hex"];
  }
}

TEST(Gpt2Bpe, GgmlPrompts) {
  const auto tokenizer = testing::make_gpt2();
  std::ifstream in(repository_file("tests/golden/tokenizer/ggml-prompts-gpt-2.txt"));
  int num_prompts = 0;
  for (std::string line; std::getline(in, line); ++num_prompts) {
    const size_t arrow = line.rfind(" => ");
    const auto ids = nlohmann::json::parse("[" + line.substr(arrow + 4) + "]").get<Ids>();
    EXPECT_EQ(tokenizer->encode(line.substr(0, arrow)), ids) << line;
  }
  EXPECT_EQ(num_prompts, 100);
}

TEST(Gpt2Bpe, FrenchParagraph) {
  const auto golden = nlohmann::json::parse(
      read_text_file(repository_file("tests/golden/tokenizer/gpt2_encoded_tokens.json")));
  EXPECT_EQ(testing::make_gpt2()->encode(golden["text"].get<std::string>()),
            golden["token_ids"].get<Ids>());
}

// Counts and hashes: tests/oracles/tokenizer_counts.py.
TEST(Gpt2Bpe, TinyShakespeare) {
  const auto tokenizer = testing::make_gpt2();
  const std::string text = read_text_file(repository_file("assets/tinyshakespeare/input.txt"));
  const Ids ids = tokenizer->encode(text);
  EXPECT_EQ(ids.size(), 338'025);
  EXPECT_EQ(ids_sha256(ids), "0c00ab83dc7f46665805762aa7688fb7852f03f28c4a5d84061871e85ea7c815");
  EXPECT_EQ(tokenizer->decode(ids), text);
}

TEST(Gpt2Bpe, WikiText2Test) {
  MEGALITH_LARGE_FILE(text, "wikitext/wikitext.wiki.test.raw");
  MEGALITH_LARGE_FILE(golden, "tokenizer-golden/gpt2.wiki.test.raw.u16");
  Ids ids = testing::make_gpt2()->encode(read_text_file(text));
  EXPECT_EQ(ids.size(), 286'221);
  ids.push_back(50'256);
  EXPECT_EQ(ids, testing::read_uint16(golden));
}

TEST(Gpt2Bpe, WikiText2Train) {
  MEGALITH_LARGE_FILE(text, "wikitext/wikitext-2.wiki.train.permuted.tokens");
  const Ids ids = testing::make_gpt2()->encode(read_text_file(text));
  EXPECT_EQ(ids.size(), 2'448'382);
  EXPECT_EQ(ids_sha256(ids), "de2146298db7858dfab8b6cc89e7cec1ffd8a48f9133af41be43ee9bda827036");
}

TEST(Gpt2Bpe, FourteenBooks) {
  MEGALITH_LARGE_FILE(folder, "gutenberg");
  const auto tokenizer = testing::make_gpt2();
  size_t num_ids = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    num_ids += tokenizer->encode(read_text_file(entry.path().string())).size();
  }
  EXPECT_EQ(num_ids, 6'602'554);
}

TEST(Gpt2Bpe, LambadaExamples) {
  MEGALITH_LARGE_FILE(file, "lambada/lambada_test.jsonl");
  const auto tokenizer = testing::make_gpt2();
  Ids ids;
  const auto rows = testing::read_json_lines(file);
  for (const auto& row : rows) {
    const size_t before = ids.size();
    const auto text = row["text"].get<std::string>();
    tokenizer->append_ids(text, ids);
    ASSERT_EQ(tokenizer->decode(std::span(ids).subspan(before)), text);
  }
  EXPECT_EQ(rows.size(), 5'153);
  EXPECT_EQ(ids.size(), 430'230);
  EXPECT_EQ(ids_sha256(ids), "f37b5af4576b8461e52efd8ca43423ac0bbf5d8aa308133dd1a6fcc358a27df2");
}

TEST(Gpt2Bpe, EveryEntryDecodesAndMostEncodeToThemselves) {
  const auto tokenizer = testing::make_gpt2();
  EXPECT_EQ(tokenizer->vocab_size(), 50'257);
  EXPECT_EQ(tokenizer->eod(), 50'256);
  EXPECT_EQ(tokenizer->decode(Ids{50'256}), "<|endoftext|>");
  EXPECT_EQ(tokenizer->pad(), std::nullopt);
  for (int32_t id = 0; id < 50'257; ++id) {
    EXPECT_FALSE(tokenizer->decode_bytes({&id, 1}).empty());
  }
}

TEST(Gpt2Bpe, NothingAndTheEndMarkAreOrdinaryText) {
  const auto tokenizer = testing::make_gpt2();
  EXPECT_EQ(tokenizer->encode(""), Ids());
  EXPECT_EQ(tokenizer->decode({}), "");
  EXPECT_EQ(tokenizer->encode("<|endoftext|>"), (Ids{27, 91, 437, 1659, 5239, 91, 29}));
}

TEST(Gpt2Bpe, IdsOutOfRangeAreRefused) {
  const auto tokenizer = testing::make_gpt2();
  EXPECT_THROW(tokenizer->decode(Ids{50'257}), UsageError);
  EXPECT_THROW(tokenizer->decode(Ids{-1}), UsageError);
}

TEST(Gpt2Bpe, HalfACharacterDecodesToTheReplacement) {
  const auto tokenizer = testing::make_gpt2();
  const Ids ids = tokenizer->encode("\xF0\x9F\x98\x80");  // one emoji, several ids
  ASSERT_GT(ids.size(), 1);
  EXPECT_EQ(tokenizer->decode({ids.data(), 1}), "\xEF\xBF\xBD");
  EXPECT_EQ(tokenizer->decode_bytes(ids), "\xF0\x9F\x98\x80");
}

TEST(Gpt2Bpe, WordsOfAMegabyteAreNotQuadratic) {
  const auto tokenizer = testing::make_gpt2();
  for (const char* unit : {"a", "!", " ", "\xFF", "1234567890"}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;  // quadratic would be hours
    const Ids ids = tokenizer->encode(text);
    if (text[0] != '\xFF') {
      EXPECT_EQ(tokenizer->decode(ids), text);
    }
  }
}

TEST(BytePairMerges, HeapAndScanAgreeWithTheDefinition) {
  const Gpt2Vocabulary vocabulary(repository_file("assets/gpt2/vocab.json"));
  const auto list = vocabulary.read_merges(repository_file("assets/gpt2/merges.txt"));
  std::map<std::pair<int32_t, int32_t>, std::pair<size_t, int32_t>> table;
  for (size_t i = 0; i < list.size(); ++i) {
    table[{list[i].left, list[i].right}] = {i, list[i].merged};
  }
  const BytePairMerges merges(list);
  std::array<int32_t, 256> byte_ids{};
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& bytes = vocabulary.bytes(id);
    if (bytes.size() == 1) byte_ids[static_cast<uint8_t>(bytes[0])] = id;
  }
  std::mt19937 random(5);
  for (int round = 0; round < 400; ++round) {
    Ids ids(1 + random() % (round % 2 == 0 ? 40 : 400));
    for (auto& id : ids) id = byte_ids[round % 3 == 0 ? random() % 256 : "aeinorst "[random() % 9]];
    Ids merged = ids;
    merges.apply(merged, 0);
    ASSERT_EQ(merged, naive_merges(ids, table));
  }
}

TEST(Gpt2Bpe, ManyThreadsShareOne) {
  const auto tokenizer = testing::make_gpt2();
  const std::string text =
      read_text_file(repository_file("assets/tinyshakespeare/input.txt")).substr(0, 200'000);
  const Ids expected = tokenizer->encode(text);
  std::vector<Ids> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back([&] { result = tokenizer->encode(text); });
  for (auto& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, expected);
}

}  // namespace
}  // namespace megalith

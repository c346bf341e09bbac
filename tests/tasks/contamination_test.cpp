// 8-gram overlap against sets of tuples: on real texts by Python (tests/oracles/ngram_overlap.py),
// on small made-up ones by the standard library.
#include "megalith/tasks/contamination.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "megalith/tasks/text_source.hpp"
#include "megalith/tasks/word_stream.hpp"
#include "support/golden.hpp"
#include "tests/tokenizer/golden_files.hpp"

namespace megalith {
namespace {

using Words = std::vector<std::string>;

Words words_of(std::string_view text, size_t piece, size_t longest = 1000) {
  Words words;
  WordStream stream([&](std::string_view word) { words.emplace_back(word); });
  stream.set_longest_word(longest);
  for (size_t at = 0; at < text.size(); at += piece) stream.feed(text.substr(at, piece));
  stream.end();
  return words;
}

TEST(WordStream, TakesLettersAndDigitsInLowerCaseHoweverTheTextIsCut) {
  const std::string text =
      "Don't STOP_it: 42nd (CAF\u00c9, \u00dcBER) \u65e5\u672c\u8a9e\u3001x\u00b2 "
      "\u0421\u041b\u041e\u0412\u041e"
      " \U00010400 a\xff"
      "b\xe2\x82 c \xe2";
  const Words expected{"don",        "t",
                       "stop",       "it",
                       "42nd",       "caf\u00e9",
                       "\u00fcber",  "\u65e5\u672c\u8a9e",
                       "x\u00b2",    "\u0441\u043b\u043e\u0432\u043e",
                       "\U00010428", "a",
                       "b",          "c"};
  for (size_t piece = 1; piece <= text.size(); ++piece) EXPECT_EQ(words_of(text, piece), expected);
  EXPECT_EQ(words_of("abcdefgh xyz", 2, 4), (Words{"abcde", "xyz"}));
  EXPECT_EQ(words_of("", 1), Words{});
}

void feed(const TextSource& source, WordStream& words, const std::function<void()>& end,
          const Tokenizer* tokenizer = nullptr) {
  read_texts(source, {.tokenizer = tokenizer,
                      .on_piece = [&](std::string_view piece) { words.feed(piece); },
                      .on_end =
                          [&] {
                            words.end();
                            end();
                          }});
}

NgramOverlap::Counts overlap_of_files(const Words& test, const Words& train) {
  NgramOverlap overlap;
  Problems problems;
  WordStream test_words([&](std::string_view word) { overlap.add_test_word(word); });
  WordStream train_words([&](std::string_view word) { overlap.see_train_word(word); });
  for (const auto& path : test) {
    overlap.begin_test(path);
    feed(describe_source(path, "test", problems), test_words, [&] { overlap.end_test_text(); });
  }
  train_words.set_longest_word(overlap.longest_word());
  for (const auto& path : train) {
    feed(describe_source(path, "train", problems), train_words, [&] { overlap.end_train_text(); });
  }
  return overlap.counts();
}

TEST(Contamination, OfRealTextsIsWhatPythonsSetsSay) {
  for (const auto& row : testing::read_golden_json("ngram_overlap.json")) {
    std::map<std::string, Words> files;
    for (const char* side : {"test", "train"}) {
      for (const auto& name : row.at(side)) {
        const auto path = testing::large_file(name);
        if (!path) GTEST_SKIP() << name << " is not here";
        files[side].push_back(*path);
      }
    }
    const auto counts = overlap_of_files(files["test"], files["train"]);
    EXPECT_EQ(counts.ngrams, row.at("ngrams").get<int64_t>()) << row.at("test");
    EXPECT_EQ(counts.found, row.at("found").get<int64_t>()) << row.at("test");
    EXPECT_EQ(counts.distinct_ngrams, row.at("distinct_ngrams").get<int64_t>());
    EXPECT_EQ(counts.distinct_found, row.at("distinct_found").get<int64_t>());
    EXPECT_DOUBLE_EQ(counts.overlap(),
                     row.at("found").get<double>() / row.at("ngrams").get<double>());
  }
}

using Texts = std::vector<std::vector<int>>;

std::vector<std::vector<int>> ngrams_of(const Texts& texts) {
  std::vector<std::vector<int>> ngrams;
  for (const auto& text : texts) {
    for (size_t i = 0; i + 8 <= text.size(); ++i) {
      ngrams.emplace_back(text.begin() + static_cast<int64_t>(i),
                          text.begin() + static_cast<int64_t>(i) + 8);
    }
  }
  return ngrams;
}

// Few different words, so that 8-grams repeat, begin alike, and training words are unknown.
TEST(Contamination, OfMadeUpTextsIsWhatSetsSay) {
  std::mt19937 random(7);
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  const auto texts_of = [&](int words, int count) {
    Texts texts(static_cast<size_t>(count));
    for (auto& text : texts) {
      for (int n = draw(0, 60); n > 0; --n) text.push_back(draw(1, words));
    }
    return texts;
  };
  for (int round = 0; round < 30; ++round) {
    const Texts test = texts_of(2, 4), train = texts_of(round % 2 == 0 ? 2 : 3, 5);
    NgramOverlap overlap;
    overlap.begin_test("test");
    for (const auto& text : test) {
      for (const int word : text) overlap.add_test_word(fmt::format("{}", word));
      overlap.end_test_text();
    }
    for (const auto& text : train) {
      for (const int word : text) overlap.see_train_word(fmt::format("{}", word));
      overlap.end_train_text();
    }
    const auto places = ngrams_of(test), seen_list = ngrams_of(train);
    const std::set<std::vector<int>> seen(seen_list.begin(), seen_list.end()),
        distinct(places.begin(), places.end());
    const auto is_seen = [&](const auto& ngram) { return seen.contains(ngram); };
    const auto counts = overlap.counts();
    EXPECT_EQ(counts.ngrams, std::ssize(places));
    EXPECT_EQ(counts.found, std::count_if(places.begin(), places.end(), is_seen));
    EXPECT_EQ(counts.distinct_ngrams, std::ssize(distinct));
    EXPECT_EQ(counts.distinct_found, std::count_if(distinct.begin(), distinct.end(), is_seen));
  }
}

}  // namespace
}  // namespace megalith

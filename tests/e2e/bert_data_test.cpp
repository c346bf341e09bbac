// megalith data index and samples for BERT from outside: upstream's samples under upstream's names,
// a book cut into chapters, and each mistake told as what it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "data/golden_json.hpp"
#include "megalith/core/error.hpp"
#include "support/process.hpp"

namespace megalith::testing {
namespace {

using ::testing::HasSubstr;
ProcessResult megalith(const Words& words) { return run_process(Words{MEGALITH_BINARY} + words); }

std::string text_of(const Json& number) { return fmt::format("{}", number.get<int64_t>()); }

class BertData : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_.path(name), std::ios::binary) << text;
    return folder_.path(name);
  }
  /// The golden vocabulary, or one without some entry.
  Words tokenizer(const std::string& without = "") const {
    std::string text;
    const Json file = golden("bert_samples.json");
    for (const auto& entry : file.at("vocabulary")) {
      if (entry != without) text += entry.get<std::string>() + "\n";
    }
    return {"--tokenizer-type", "BertWordPieceCase", "--vocab-file",
            write("vocab" + without + ".txt", text)};
  }
  Words bert(const std::string& prefix, const Words& more = {}) const {
    return Words{"--dataset",          "bert", "--data-path", prefix, "--data-cache-path",
                 folder_.path("cache")} +
           more;
  }
  Words docs(const Words& more = {}) const {
    return bert(golden_path("indexed/bert_docs"),
                Words{"--seq-length", "64", "--num-samples", "50,0,0", "--split", "1,0,0"} + more);
  }

  MemoryFolder folder_;
};

TEST_F(BertData, SamplesAreUpstreams) {
  const Json file = golden("bert_samples.json");
  size_t compared = 0;
  for (const auto& row : file.at("cases")) {
    const bool by_flags = row.at("masking_max_ngram") == 3 &&
                          row.at("masking_do_full_word").get<bool>() &&
                          !row.at("masking_use_longer_ngrams").get<bool>() &&
                          !row.at("masking_use_geometric_distribution").get<bool>();
    if (!by_flags) continue;
    SCOPED_TRACE(row.at("name").get<std::string>());
    Words flags = bert(golden_path(row.at("dataset")), tokenizer()) +
                  Words{"--seq-length",
                        text_of(row.at("sequence_length")),
                        "--seed",
                        text_of(row.at("seed")),
                        "--split",
                        row.at("split"),
                        "--num-samples",
                        text_of(row.at("num_samples")) + ",0,0",
                        "--mask-prob",
                        fmt::format("{}", row.at("masking_probability").get<double>()),
                        "--short-seq-prob",
                        fmt::format("{}", row.at("short_sequence_probability").get<double>())};
    if (!row.at("classification_head").get<bool>()) flags.push_back("--bert-no-binary-head");
    for (const auto& expected : row.at("samples")) {
      const auto result = megalith(Words{"data", "samples"} + flags +
                                   Words{"--first", text_of(expected.at("index"))});
      ASSERT_EQ(result.status, 0) << result.err;
      const Json sample = Json::parse(result.out);
      for (const auto& [name, value] : sample.items()) {
        EXPECT_EQ(value, expected.at(name)) << name;
      }
      EXPECT_EQ(sample.size(), expected.size() - 1);  // all but the row of the mapping
      ++compared;
    }
  }
  EXPECT_EQ(compared, 11U);
}

/// The golden vocabulary as a tokenizer.json, so that it says what vocab.txt says.
TEST_F(BertData, ATokenizerJsonMakesTheSameSamples) {
  Json vocabulary;
  const Json file = golden("bert_samples.json");
  for (const auto& entry : file.at("vocabulary")) {
    vocabulary[entry.get<std::string>()] = vocabulary.size();
  }
  const Json model{{"type", "WordPiece"},
                   {"unk_token", "[UNK]"},
                   {"continuing_subword_prefix", "##"},
                   {"max_input_chars_per_word", 100},
                   {"vocab", vocabulary}};
  const auto samples_by = [&](const Words& tokenizer) {
    const auto result =
        megalith(Words{"data", "samples"} + docs(tokenizer) + Words{"--count", "50"});
    EXPECT_EQ(result.status, 0) << result.err;
    return result.out;
  };
  const Json decoder{{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  const std::string samples =
      samples_by({"--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model",
                  write("tokenizer.json", Json{{"decoder", decoder}, {"model", model}}.dump())});
  EXPECT_EQ(samples, samples_by(tokenizer()));
  EXPECT_THAT(samples, HasSubstr("padding_mask"));
}

TEST_F(BertData, TheIndexNeedsNoVocabularyAndSaysWhatIsLeftOut) {
  const auto result = megalith(Words{"data", "index"} + docs());
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out,
              HasSubstr("train: 54 samples of up to 64 tokens from 21 of 24 documents"));
  EXPECT_THAT(result.out, HasSubstr("3 with fewer than 2 sentences"));
  EXPECT_THAT(result.out, HasSubstr(folder_.path("cache")));
  size_t arrays = 0;
  const Json file = golden("bert_samples.json");
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path("cache"))) {
    if (entry.path().extension() != ".npy") continue;
    expect_array(read_numpy(entry.path()), file.at("cases")[0].at("mapping"));
    ++arrays;
  }
  EXPECT_EQ(arrays, 1U);
}

TEST_F(BertData, ABookBecomesChaptersAndSamples) {
  std::string book = "A title\r\n\r\n\r\n";
  for (int chapter = 0; chapter < 6; ++chapter) {
    book += "Chapter\r\n\r\n";
    for (int paragraph = 0; paragraph < 5; ++paragraph) {
      for (int sentence = 0; sentence < 4; ++sentence) {
        book += fmt::format("W{:02} w{:02}\r\nw{:02}. ", sentence, paragraph, chapter);
      }
      book += "\r\n\r\n";
    }
    book += "\r\n\r\n";
  }
  const Words words = tokenizer();
  const auto made = megalith(Words{"preprocess", "--input", write("book.txt", book),
                                   "--output-prefix", folder_.path("book"), "--document-separator",
                                   "blank-line", "--blank-lines", "2", "--split-sentences"} +
                             words);
  ASSERT_EQ(made.status, 0) << made.err;
  EXPECT_THAT(made.out, HasSubstr("7 documents (0 without a token)"));
  const auto index =
      megalith(Words{"data", "index"} + bert(folder_.path("book_text_sentence"),
                                             words + Words{"--seq-length", "32", "--num-samples",
                                                           "20,3,0", "--split", "5,2,0"}));
  ASSERT_EQ(index.status, 0) << index.err;
  EXPECT_THAT(index.out, HasSubstr("from 4 of 5 documents"));
  EXPECT_THAT(index.out, HasSubstr("left out: 1 with fewer than 2 sentences"));
  EXPECT_THAT(index.out, HasSubstr("valid: "));
}

TEST_F(BertData, MistakesAreToldAsWhatTheyAre) {
  const auto says = [](const Words& words, const std::string& text) {
    const auto result = megalith(words);
    EXPECT_EQ(result.status, 2) << result.out << result.err;
    EXPECT_THAT(result.err, HasSubstr(text));
  };
  const Words samples{"data", "samples"}, index{"data", "index"};
  says(samples + docs(), "--tokenizer-type BertWordPieceLowerCase");
  says(samples + docs(tokenizer("[MASK]")),
       "vocab[MASK].txt has no [MASK], which BERT's samples are made with");
  says(samples + docs({"--tokenizer-type", "NullTokenizer", "--vocab-size", "64"}),
       "NullTokenizer has no [CLS], [SEP], [MASK], [PAD]");
  says(index + docs({"--mask-prob", "1.5"}), "--mask-prob 1.5: must be above 0 and below 1");
  says(index + docs({"--short-seq-prob", "2"}), "--short-seq-prob 2: must be 0");
  says(index + docs({"--seq-length", "4"}), "--seq-length 4: ");
  says(index + docs({"--reset-position-ids"}), "a BERT sample is from one document");
  says(index + docs({"--dataset", "gpt", "--mask-prob", "0.2"}),
       "--mask-prob has no meaning for GPT's samples");
  says(index + bert(golden_path("indexed/gpt_docs"),
                    {"--seq-length", "64", "--num-samples", "5,0,0", "--split", "1,0,0"}),
       "--split-sentences");
  EXPECT_EQ(megalith(index + docs({"--short-seq-prob", "0"})).status, 0);
  EXPECT_EQ(megalith(samples + docs({"--mock-data"}) + Words{"--vocab-size", "99"}).status, 2);
}

TEST_F(BertData, MockDataGiveSamplesWithoutAVocabulary) {
  const auto result = megalith({"data", "samples", "--dataset", "bert", "--mock-data",
                                "--tokenizer-type", "NullTokenizer", "--vocab-size", "99",
                                "--seq-length", "32", "--num-samples", "9,0,0", "--count", "9"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("\"is_random\":1"));
  EXPECT_THAT(result.out, HasSubstr("\"is_random\":0"));
}

}  // namespace
}  // namespace megalith::testing

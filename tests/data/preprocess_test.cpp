// Preprocessing against datasets made by tests/oracles/preprocess_expected.py, and its behaviour
// when lines are broken, or it is interrupted.
#include "megalith/core/atomic_file.hpp"
#include "megalith/data/preprocess.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "megalith/core/error.hpp"
#include "megalith/data/indexed_dataset.hpp"
#include "megalith/data/ordered_pipeline.hpp"
#include "megalith/data/verify_indexed_dataset.hpp"
#include "tests/data/test_folder.hpp"
#include "tests/support/process.hpp"

namespace megalith {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::gzipped;
using ::testing::HasSubstr;
using testing::message_of;
using testing::TestFolder;
using testing::zstd_packed;
using Json = nlohmann::json;

const std::string kRoot = MEGALITH_SOURCE_DIR;

const Json& expected() {
  static const Json file =
      Json::parse(read_text_file(kRoot + "/tests/golden/preprocess/expected.json"));
  return file;
}

const Tokenizer& gpt2() {
  static const auto tokenizer = make_tokenizer({.tokenizer_type = "GPT2BPETokenizer",
                                                .vocab_file = kRoot + "/assets/gpt2/vocab.json",
                                                .merge_file = kRoot + "/assets/gpt2/merges.txt",
                                                .vocab_size = std::nullopt});
  return *tokenizer;
}

std::string corpus_text() {
  std::string text;
  for (const auto& line : expected()["corpus"]) text += line.get<std::string>() + "\n";
  return text;
}

PreprocessConfig config_for(const std::vector<std::string>& input, const TestFolder& folder) {
  PreprocessConfig config;
  config.input = input;
  config.output_prefix = folder.path("out");
  config.append_eod = true;
  config.workers = 2;
  return config;
}

void expect_dataset(const TestFolder& folder, const std::string& name, const std::string& key) {
  SCOPED_TRACE(key);
  const Json& want = expected()[key];
  const DatasetSurvey survey = verify_indexed_dataset(folder.path(name), 50257);
  EXPECT_EQ(survey.num_documents, want["documents"].get<int64_t>());
  EXPECT_EQ(survey.num_sequences, want["sequences"].get<int64_t>());
  EXPECT_EQ(survey.num_tokens, want["tokens"].get<int64_t>());
  EXPECT_EQ(folder.sha256(name + ".bin"), want["bin_sha256"].get<std::string>());
  EXPECT_EQ(folder.sha256(name + ".idx"), want["idx_sha256"].get<std::string>());
}

TEST(Preprocess, JsonLinesGiveTheExpectedBytes) {
  const TestFolder in, out;
  const std::string text = corpus_text();
  const std::string crlf = [&] {
    std::string with_returns = "\xef\xbb\xbf";
    for (const char c : text) with_returns += c == '\n' ? std::string("\r\n") : std::string(1, c);
    return with_returns;
  }();
  for (const auto& path :
       {in.write("a.jsonl", text), in.write("b.json", crlf), in.write("c.jsonl.gz", gzipped(text)),
        in.write("d", zstd_packed(crlf))}) {
    SCOPED_TRACE(path);
    auto config = config_for({path}, out);
    config.json_keys = {"text", "title"};
    const auto progress = preprocess(config, gpt2(), {});
    expect_dataset(out, "out_text_document", "corpus_text");
    expect_dataset(out, "out_title_document", "corpus_title");
    EXPECT_EQ(progress.documents, 7);
    EXPECT_EQ(progress.tokens, 55 + 21);
    EXPECT_EQ(progress.empty_documents, 0);
    EXPECT_EQ(progress.input_bytes, progress.input_bytes_total);
  }
  auto config = config_for({in.path("a.jsonl")}, out);
  config.append_eod = false;
  EXPECT_EQ(preprocess(config, gpt2(), {}).empty_documents, 2);
  expect_dataset(out, "out_text_document", "corpus_text_without_eod");
}

TEST(Preprocess, ShakespeareWhateverTheNumberOfWorkers) {
  const std::string input = kRoot + "/assets/tinyshakespeare/input.txt";
  for (const int64_t workers : {0, 1, 2, 4}) {
    const TestFolder out;
    auto config = config_for({input}, out);
    config.workers = workers;
    config.document_separator = DocumentSeparator::kBlankLine;
    int64_t calls = 0;
    PreprocessHooks hooks;
    hooks.on_document = [&](const PreprocessProgress& progress) {
      EXPECT_EQ(progress.documents, ++calls);
    };
    preprocess(config, gpt2(), hooks);
    expect_dataset(out, "out_text_document", "shakespeare_paragraphs");
    EXPECT_EQ(calls, 7222);
    EXPECT_THAT(out.names(), ElementsAre("out_text_document.bin", "out_text_document.idx"));
  }
  const TestFolder in, out;
  preprocess(config_for({in.write("in.txt.gz", gzipped(read_text_file(input)))}, out), gpt2(), {});
  expect_dataset(out, "out_text_document", "shakespeare_file");
}

TEST(Preprocess, SentencesAreSequences) {
  const TestFolder in, out;
  auto config = config_for({in.write("a.jsonl", R"({"text": "One came.\nTwo went. Three"})"
                                                "\n"
                                                R"({"text": " \n"})"
                                                "\n"
                                                R"({"text": ["A list. Of two.", "Third"]})")},
                           out);
  config.split_sentences = true;
  preprocess(config, gpt2(), {});
  const IndexedDataset dataset(out.path("out_text_sentence"));
  EXPECT_THAT(dataset.document_array().to_vector(), ElementsAre(0, 3, 3, 6));
  std::vector<std::string> sentences;
  for (int64_t s = 0; s < dataset.num_sequences(); ++s) {
    const auto ids = dataset.read(s);
    sentences.push_back(gpt2().decode(std::vector<int32_t>(ids.begin(), ids.end())));
  }
  EXPECT_THAT(sentences, ElementsAre("One came.", "Two went.", "Three<|endoftext|>", "A list.",
                                     "Of two.", "Third<|endoftext|>"));
}

TEST(Preprocess, ABrokenLineStopsTheRunAndLeavesNothing) {
  const TestFolder in, out;
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "{\"text\": \"line\"}\n";
  const auto good = in.write("good.jsonl", text);
  const auto bad = in.write("bad.jsonl", text + "{\"text\": \n" + text + "[]\n");
  for (const int64_t workers : {1, 4}) {
    auto config = config_for({good, bad}, out);
    config.workers = workers;
    EXPECT_THAT(message_of<UsageError>([&] { preprocess(config, gpt2(), {}); }),
                AllOf(HasSubstr(bad + ":5001: not valid JSON"), HasSubstr("--skip-bad-lines")));
    EXPECT_THAT(out.names(), ElementsAre());
  }
}

TEST(Preprocess, BrokenLinesAreLeftOutAndCounted) {
  const TestFolder in, out;
  const auto path =
      in.write("a.jsonl", "{\"text\": \"one\"}\nbroken\n{\"text\": \"two\"}\n{\"other\": 1}\n");
  auto config = config_for({path}, out);
  config.skip_bad_lines = true;
  std::vector<std::string> told;
  PreprocessHooks hooks;
  hooks.on_bad_line = [&](const std::string& line) { told.push_back(line); };
  const auto progress = preprocess(config, gpt2(), hooks);
  EXPECT_EQ(progress.documents, 2);
  EXPECT_EQ(progress.bad_lines, 2);
  EXPECT_THAT(told,
              ElementsAre(HasSubstr(path + ":2: not valid"), HasSubstr(path + ":4: has no key")));
  config.input = {in.write("b.jsonl", "broken\n")};
  EXPECT_THAT(message_of<UsageError>([&] { preprocess(config, gpt2(), {}); }),
              HasSubstr("every line is broken"));
}

TEST(Preprocess, MistakesAreToldTogether) {
  PreprocessConfig config;
  config.json_keys = {"a", "a", "x/y"};
  config.keep_newlines = true;
  config.blank_lines = 2;
  const auto text = message_of<UsageError>([&] { preprocess(config, gpt2(), {}); });
  EXPECT_THAT(text, AllOf(HasSubstr("--input is missing"), HasSubstr("--output-prefix is missing"),
                          HasSubstr("named twice"), HasSubstr("x/y"), HasSubstr("--keep-newlines"),
                          HasSubstr("--blank-lines 2 has no meaning")));
  const TestFolder in, out;
  config = config_for({in.write("a.txt", "text")}, out);
  config.json_keys = {"text", "title"};
  EXPECT_THAT(message_of<UsageError>([&] { preprocess(config, gpt2(), {}); }),
              HasSubstr("plain text has no keys"));
  config = config_for({in.write("b.jsonl", "\n\n")}, out);
  EXPECT_THAT(message_of<UsageError>([&] { preprocess(config, gpt2(), {}); }),
              HasSubstr("holds no document"));
  EXPECT_THAT(out.names(), ElementsAre());
}

TEST(Preprocess, StopsWhenAskedAndLeavesNothing) {
  const TestFolder out;
  auto config = config_for({kRoot + "/assets/tinyshakespeare/input.txt"}, out);
  config.document_separator = DocumentSeparator::kBlankLine;
  std::atomic<bool> stop = false;
  PreprocessHooks hooks;
  hooks.stop = &stop;
  hooks.on_document = [&](const PreprocessProgress& progress) { stop = progress.documents == 100; };
  EXPECT_THAT(message_of<RunError>([&] { preprocess(config, gpt2(), hooks); }),
              HasSubstr("interrupted"));
  EXPECT_THAT(out.names(), ElementsAre());
}

TEST(Preprocess, AFailedRunLeavesTheOlderDataset) {
  const TestFolder in, out;
  auto config = config_for({in.write("a.jsonl", "{\"text\": \"first\"}\n")}, out);
  preprocess(config, gpt2(), {});
  const std::string before = out.read("out_text_document.bin");
  config.input = {in.write("b.jsonl", "{\"text\": \"second\"}\nbroken\n")};
  EXPECT_THROW(preprocess(config, gpt2(), {}), UsageError);
  EXPECT_EQ(out.read("out_text_document.bin"), before);
  EXPECT_EQ(IndexedDataset(out.path("out_text_document")).num_documents(), 1);
}

TEST(OrderedPipeline, KeepsOrderAndItsBounds) {
  std::atomic<int64_t> flying = 0, most = 0;
  int64_t next = 0;
  std::vector<int64_t> seen;
  OrderedPipeline<int64_t, int64_t> pipeline(
      {.produce =
           [&](int64_t& item) {
             if (next == 1000) return false;
             item = next++;
             return true;
           },
       .make_worker =
           [&] {
             return [&](int64_t&& item) {
               most = std::max<int64_t>(most, ++flying);
               if (item % 7 == 0) std::this_thread::yield();
               return item * item;
             };
           },
       .consume =
           [&](int64_t&& item) {
             --flying;
             seen.push_back(item);
           },
       .weight = [](const int64_t&) { return 10; }},
      {.num_workers = 4, .max_items = 100, .max_weight = 50});
  pipeline.run();
  ASSERT_EQ(seen.size(), 1000U);
  for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i * i);
  EXPECT_LE(most, 6);  // five that weigh 50, and the one just consumed
}

TEST(OrderedPipeline, TheFirstFailureInOrderIsTheOneTold) {
  for (int round = 0; round < 50; ++round) {
    int64_t next = 0;
    OrderedPipeline<int64_t, int64_t> pipeline(
        {.produce =
             [&](int64_t& item) {
               if (next == 40) throw RunError("produce");
               item = next++;
               return true;
             },
         .make_worker =
             [] {
               return [](int64_t&& item) -> int64_t {
                 if (item >= 20) throw RunError("item {}", item);
                 return item;
               };
             },
         .consume = [](int64_t&&) {},
         .weight = [](const int64_t&) { return 1; }},
        {.num_workers = 4, .max_items = 16, .max_weight = 1000});
    EXPECT_EQ(message_of<RunError>([&] { pipeline.run(); }), "item 20");
  }
}

/// Opens a named pipe for writing once somebody reads from it; -1 when nobody does.
int open_pipe_to_reader(const std::string& path) {
  for (int i = 0; i < 1000; ++i) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) return fd;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return -1;
}

/// Writes lines into the pipe until its reader is gone or `seconds` are over.
bool feed(int pipe, double seconds) {
  std::string lines;  // few enough that the pipe takes all or none
  for (int i = 0; i < 200; ++i) lines += "{\"text\": \"1 2 3\"}\n";
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    if (::write(pipe, lines.data(), lines.size()) >= 0) continue;
    if (errno != EAGAIN) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

TEST(PreprocessCommand, AnInterruptedRunLeavesNothing) {
  if (!std::filesystem::is_regular_file(MEGALITH_BINARY)) {
    GTEST_SKIP() << MEGALITH_BINARY << " is not built";
  }
  ::signal(SIGPIPE, SIG_IGN);  // the reader goes away while this test still writes
  for (const int signal : {SIGINT, SIGTERM}) {
    const TestFolder out;
    // Input from a pipe that never ends by itself, so the signal always finds the run in the
    // middle.
    ASSERT_EQ(::mkfifo(out.path("in.jsonl").c_str(), 0600), 0);
    testing::Process process({MEGALITH_BINARY, "preprocess", "--input", out.path("in.jsonl"),
                              "--output-prefix", out.path("out"), "--tokenizer-type",
                              "NullTokenizer", "--vocab-size", "100"});
    const int pipe = open_pipe_to_reader(out.path("in.jsonl"));
    ASSERT_GE(pipe, 0) << process.wait(1).err;
    EXPECT_TRUE(feed(pipe, 0.3));
    EXPECT_EQ(out.names().size(), 3U);  // the pipe and two temporary files
    process.send(signal);
    EXPECT_FALSE(feed(pipe, 10));
    ::close(pipe);
    const auto result = process.wait();
    EXPECT_EQ(result.status, 1) << result.err;
    EXPECT_THAT(result.err, HasSubstr("interrupted"));
    EXPECT_THAT(out.names(), ElementsAre("in.jsonl"));
  }
}

}  // namespace
}  // namespace megalith

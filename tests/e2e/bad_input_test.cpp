// What the program says to mistakes, seen from outside: one row of a table is a command line, the
// exit status and parts of the message. No row may show a stack trace, take long, or leave a file.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"

namespace megalith::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kMostSeconds = 60;  // a row takes well below one; the machine may be busy

struct Row {
  std::string command;
  int status;
  std::vector<std::string> texts;
};

class BadInput : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    std::string text;
    for (int document = 0; document < 60; ++document) {
      text += "{\"text\": \"";
      for (int i = 0; i < 40; ++i) text += fmt::format("{} ", (document * 7 + i * 3) % 90);
      text += "\"}\n";
    }
    folder_->write("text.jsonl", text);
    const auto made = run_process({MEGALITH_BINARY, "preprocess", "--input", input("text.jsonl"),
                                   "--output-prefix", input("ids"), "--tokenizer-type",
                                   "NullTokenizer", "--vocab-size", "90", "--append-eod"});
    ASSERT_EQ(made.status, 0) << made.err;
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string input(const std::string& name) { return folder_->path(name); }
  static std::string write(const std::string& name, const std::string& bytes) {
    return folder_->write(name, bytes);
  }

  static const Words& pretrain_words() {
    static const Words words =
        cut("pretrain gpt --num-layers 2 --hidden-size 32 --num-attention-heads 4 --seq-length 16 "
            "--micro-batch-size 2 --global-batch-size 8 --train-iters 3 --lr 0.01 --eval-iters 0 "
            "--log-interval 1 --split 80,10,10 --tokenizer-type NullTokenizer --vocab-size 90 "
            "--num-threads 1 --distributed-timeout-minutes 0.05 --data-path");
    return words;
  }
  static Words pretrain(const std::string& flags) {
    return Words{MEGALITH_BINARY} + pretrain_words() + Words{input("ids_text_document")} +
           cut(fill(flags));
  }
  static Words command(const std::string& text) {
    if (text.starts_with("...")) return pretrain(text.substr(3));
    return Words{MEGALITH_BINARY} + cut(fill(text));
  }

  static std::string fill(std::string text) {
    for (const auto& [mark, path] : {std::pair{"{D}", folder_->path()}, {"{O}", output_->path()}}) {
      for (size_t at; (at = text.find(mark)) != std::string::npos;) text.replace(at, 3, path);
    }
    return text;
  }

  /// Fails unless the command ends as the row says, in time, with a plain message and no output.
  static void check(const Row& row, const ProcessOptions& options = {}) {
    SCOPED_TRACE(row.command);
    const auto result = run_process(command(row.command), options, kMostSeconds);
    check_message(row, result);
    EXPECT_THAT(names_in(output_->path()), ::testing::IsEmpty());
  }
  static void check_message(const Row& row, const ProcessResult& result) {
    EXPECT_EQ(result.status, row.status) << result.err;
    for (const auto& text : row.texts) EXPECT_THAT(result.err, HasSubstr(fill(text)));
    for (const char* trace : {"Exception raised from", "frame #", "terminate called"}) {
      EXPECT_THAT(result.err + result.out, Not(HasSubstr(trace)));
    }
  }
  /// A few rows at a time: most of a row's time is the program's start.
  static void check(const std::vector<Row>& rows) {
    constexpr size_t kAtOnce = 4;
    for (size_t first = 0; first < rows.size(); first += kAtOnce) {
      const size_t end = std::min(rows.size(), first + kAtOnce);
      std::vector<std::unique_ptr<Process>> processes;
      for (size_t i = first; i < end; ++i) {
        processes.push_back(std::make_unique<Process>(command(rows[i].command)));
      }
      for (size_t i = first; i < end; ++i) {
        SCOPED_TRACE(rows[i].command);
        check_message(rows[i], processes[i - first]->wait(kMostSeconds));
      }
      EXPECT_THAT(names_in(output_->path()), ::testing::IsEmpty()) << rows[first].command;
    }
  }

  void SetUp() override { output_ = std::make_unique<TemporaryFolder>(); }
  void TearDown() override { output_.reset(); }

  static inline std::unique_ptr<TemporaryFolder> folder_, output_;
};

// "..." stands for a run that is right, with the flags after it added.

TEST_F(BadInput, SizesThatDoNotFit) {
  check({
      {"... --num-attention-heads 3 --hidden-size 33 --tensor-model-parallel-size 2",
       2,
       {"--num-attention-heads 3 is not divisible by --tensor-model-parallel-size 2",
        "--tensor-model-parallel-size 2 does not divide the 1 rank(s)", "2 mistakes"}},
      {"... --hidden-size 30", 2, {"--hidden-size 30", "--num-attention-heads 4", "--kv-channels"}},
      {"... --global-batch-size 7", 2, {"--global-batch-size 7", "try 6 or 8"}},
      {"... --tensor-model-parallel-size 3 --num-attention-heads 6 --hidden-size 36",
       2,
       {"does not divide the 1 rank(s)", "--nproc-per-node 3"}},
      {"launch --nproc-per-node 3 pretrain gpt --tensor-model-parallel-size 2",
       2,
       {"--tensor-model-parallel-size 2 does not divide the 3 rank(s)"}},
      {"... --seq-length 64 --max-position-embeddings 32",
       2,
       {"--seq-length 64 is longer than --max-position-embeddings 32; raise the positions"}},
      {"... --ffn-hidden-size 33 --tensor-model-parallel-size 2", 2, {"--ffn-hidden-size 33"}},
      {"... --group-query-attention --num-query-groups 3", 2, {"--num-query-groups 3"}},
      {"... --num-layers 100000 --hidden-size 1048576", 2, {"parameters", "lower one of them"}},
      {"... --train-iters 9000000000000000", 2, {"--train-iters 9000000000000000", "tokens"}},
  });
}

TEST_F(BadInput, NumbersThatAreNone) {
  check({
      {"... --lr -1", 2, {"--lr must be at least 0, got -1"}},
      {"... --lr abc", 2, {"megalith: --lr needs a number, got 'abc'\n"}},
      {"... --lr nan", 2, {"--lr must be a finite number, at least 0, got nan"}},
      {"... --lr -inf", 2, {"--lr must be a finite number, at least 0, got -inf"}},
      {"... --lr 1e999", 2, {"--lr needs a number between", "'1e999'"}},
      {"... --clip-grad inf", 2, {"--clip-grad must be a finite number"}},
      {"... --num-layers 0", 2, {"--num-layers must be between 1 and 100000, got 0"}},
      {"... --num-layers 1.5", 2, {"--num-layers needs a whole number, got '1.5'"}},
      {"... --num-layers 99999999999999999999",
       2,
       {"--num-layers needs a whole number of at most 18 digits, got '99999999999999999999'"}},
      {"... --num-layers 99999999999", 2, {"--num-layers must be between 1 and 100000"}},
      {"... --num-layers 3x", 2, {"got '3x'"}},
      {"... --num-layers=", 2, {"--num-layers needs a whole number, got ''"}},
      {"... --hidden-dropout 1", 2, {"--hidden-dropout must be at least 0 and below 1, got 1"}},
      {"... --seed -1", 2, {"--seed must be between 0 and 4294967295, got -1"}},
      {"... --seed 4294967296", 2, {"--seed must be between 0 and 4294967295"}},
      {"... --lr-decay-style cosin", 2, {"--lr-decay-style must be one of", "got 'cosin'"}},
      {"... --rampup-batch-size 2 2", 2, {"--rampup-batch-size needs 3 values, got 2"}},
      {"... --split 0,0,0", 2, {"--split '0,0,0'", "add up to 0"}},
      {"... --split 8,-1,1", 2, {"--split '8,-1,1': a share cannot be negative"}},
      {"... --split one", 2, {"--split 'one' holds no number"}},
      {"... --train-iters 0", 2, {"--train-iters must be at least 1, got 0"}},
      {"... --num-threads 99999999", 2, {"--num-threads must be between 1 and 4096"}},
      {"... --distributed-timeout-minutes 0", 2, {"greater than 0 and at most 100000, got 0"}},
      {"... --distributed-timeout-minutes 1e300", 2, {"at most 100000, got 1e300"}},
      {"... --vocab-size 0", 2, {"--vocab-size must be between 1 and", "got 0"}},
  });
}

TEST_F(BadInput, FlagsThatAreNone) {
  check({
      {"... --num-workers", 2, {"--num-workers needs a value"}},
      {"... --encoder-seq-length", 2, {"--encoder-seq-length needs a value"}},
      {"... --num-layrs 3", 2, {"unknown flag --num-layrs; did you mean --num-layers?\n"}},
      {"... -lr 3", 2, {"unknown flag -lr; did you mean --lr?"}},
      {"... --wholly-made-up 3",
       2,
       {"unknown flag --wholly-made-up; see megalith pretrain --help"}},
      {"... --num_layers=3", 2, {"unknown flag --num_layers; did you mean --num-layers?"}},
      {"... --lr", 2, {"--lr needs a number, got nothing"}},
      {"... --lr --bf16", 2, {"--lr needs a number, got nothing"}},
      {"... --data-path", 2, {"--data-path needs at least one value, got nothing"}},
      {"... --save=", 2, {"--save is empty"}},
      {"... --bf16 true", 2, {"unexpected word 'true' after --bf16, which takes no value"}},
      {"... --lr 1 2", 2, {"unexpected word '2' after --lr, which takes one value"}},
      {"... --bf16=maybe", 2, {"--bf16 needs true or false, got 'maybe'"}},
      {"... --bf16 --fp16", 2, {"--bf16 and --fp16 exclude each other"}},
      {"... --loss-scale 2", 2, {"--loss-scale 2 needs --fp16"}},
      {"... --train-samples 80", 2, {"--train-iters and --train-samples exclude each other"}},
      {"... --mock-data", 2, {"--data-path and --mock-data; give one"}},
      {"... --recompute-activations --recompute-granularity full", 2, {"contradicts"}},
      {"... --recompute-num-layers 2", 2, {"needs --recompute-granularity full"}},
      {"... --recompute-method block", 2, {"needs --recompute-granularity full"}},
      {"... --recompute-granularity full --recompute-num-layers 9",
       2,
       {"--recompute-num-layers 9 is more than --num-layers"}},
      {"... --skip-train --eval-iters 0", 2, {"leaves nothing to do"}},
      {"... --data-path 0.3 {D}/ids_text_document 0.7",
       2,
       {"'0.3' in the data paths is a weight or a path? Give each path its weight"}},
      {"... --num-query-groups 2", 2, {"needs --group-query-attention"}},
      {"... --rotary-percent 0.5", 2, {"needs --position-embedding-type rope"}},
      {"... --save-interval 2", 2, {"--save-interval without --save"}},
      {"... --load-if-exists", 2, {"--load-if-exists without --load"}},
      {"... --sequence-parallel", 2, {"--sequence-parallel is not supported"}},
      {"... --distributed-backend nccl --device cpu", 2, {"nccl needs --device cuda"}},
      {"... --tokenizer-type GPT2BPETokeniser", 2, {"did you mean GPT2BPETokenizer?"}},
      {"pretrain", 2, {"MODEL is missing", "--num-layers is missing", "--lr is missing"}},
      {"pretrain t5", 2, {"'t5' is no model this program trains; give gpt or bert"}},
      {"pretrian gpt", 2, {"unknown subcommand 'pretrian'; did you mean pretrain?"}},
  });
}

TEST_F(BadInput, SeveralMistakesAreListedAtOnceAndEachOnce) {
  check(
      {"... --lr abc --num-layers 0 --hidden-size 30 --seq-length x --micro-batch-size 0 "
       "--train-iters --no-such-flag 1 --bf16 --fp16 --save {D}/text.jsonl/checkpoints "
       "--metrics-file {O}/nowhere/metrics.jsonl --tokenizer-type GPT2BPETokenizer "
       "--vocab-file {D}/no.json --merge-file {D}/no.txt",
       2,
       {"12 mistakes:", "--lr needs a number", "--num-layers must be", "--hidden-size 30",
        "--seq-length needs", "--micro-batch-size must be", "--train-iters needs",
        "unknown flag --no-such-flag", "--bf16 and --fp16", "--save {D}/text.jsonl/checkpoints",
        "--metrics-file {O}/nowhere/metrics.jsonl", "--vocab-file {D}/no.json",
        "--merge-file {D}/no.txt"}});
}

TEST_F(BadInput, Datasets) {
  const std::string idx = read_text_file(input("ids_text_document.idx"));
  const std::string bin = read_text_file(input("ids_text_document.bin"));
  const auto dataset = [&](const std::string& name, const std::string& index,
                           const std::string& tokens) {
    write(name + ".idx", index);
    write(name + ".bin", tokens);
  };
  const auto patched = [&](size_t offset, char byte) {
    std::string index = idx;
    index[offset] = byte;
    return index;
  };
  dataset("empty", "", "");
  dataset("cut", idx.substr(0, 100), bin);
  dataset("header", idx.substr(0, 20), bin);
  dataset("magic", patched(0, 'X'), bin);
  dataset("legacy", std::string("TNTIDX\0\0", 8) + idx.substr(8), bin);
  dataset("version", patched(9, 2), bin);
  dataset("type", patched(17, 77), bin);
  dataset("float", patched(17, 7), bin);
  dataset("short", idx, bin.substr(0, 100));
  dataset("long", idx, bin + bin);
  write("only.idx", idx);
  check({
      {"... --data-path {D}/nowhere", 2, {"{D}/nowhere.idx: not found"}},
      {"... --data-path {D}/only", 2, {"{D}/only.bin: not found"}},
      {"... --data-path {D}/ids", 2, {"did you mean {D}/ids_text_document?"}},
      {"... --data-path {D}/ids_text_document.bin", 2, {"without its ending"}},
      {"... --data-path {D}", 2, {"is a folder"}},
      {"... --data-path {D}/empty", 2, {"{D}/empty.idx"}},
      {"... --data-path {D}/cut", 2, {"{D}/cut.idx", "cut short"}},
      {"... --data-path {D}/header", 2, {"{D}/header.idx: ends after 20 bytes"}},
      {"... --data-path {D}/magic", 2, {"{D}/magic.idx: is no index file", "MMIDIDX"}},
      {"... --data-path {D}/legacy", 2, {"{D}/legacy.idx", "before 2020"}},
      {"... --data-path {D}/version", 2, {"version 2 at offset 9"}},
      {"... --data-path {D}/type", 2, {"type code 77 at offset 17; expected 1 to 8"}},
      {"... --data-path {D}/float", 2, {"float32, which are no token ids"}},
      {"... --data-path {D}/short", 2, {"{D}/short.bin has 100 bytes", "cut short"}},
      {"... --data-path {D}/long", 2, {"{D}/long.bin: has 9840 bytes"}},
      {"... --vocab-size 50",
       1,
       {"{D}/ids_text_document: document ", ", token ", " is id 5", "51 entries"}},
      {"... --seq-length 3000", 2, {"1968 tokens, fewer than one sample needs: --seq-length 3000"}},
      {"... --split 0,1,1", 2, {"24 samples are asked of the training data", "'0,1,1'"}},
      {"... --split 997,2,1 --eval-iters 1", 2, {"valid data", "60 documents", "share of 0"}},
      {"data info {D}/cut", 2, {"{D}/cut.idx"}},
      {"data verify {D}/ids_text_document --vocab-size 50", 2, {"byte 34", "id 51"}},
      {"data verify {D}/no {D}/nothing {D}/ids_text_document --vocab-size 50",
       2,
       {"{D}/no", "{D}/nothing", "id 51"}},
      {"data show {D}/ids_text_document --document 99", 2, {"holds 60 documents"}},
      {"data merge {O}/all", 2, {"name the datasets to join"}},
      {"data merge {O}/all {D}/nowhere", 2, {"{D}/nowhere.idx: not found"}},
      {"data index", 2, {"--seq-length is missing", "no data", "--num-samples"}},
      {"data samples --data-path {D}/ids_text_document --seq-length 16 --num-samples 1,2",
       2,
       {"--num-samples '1,2' must be three counts"}},
      {"data samples --data-path {D}/ids_text_document --seq-length 16 --num-samples 9,0,0 "
       "--split 1,0,0 --data-cache-path {O} --first 999",
       2,
       {"the train dataset holds 153 samples, counted from 0"}},
      {"data index --data-path {D}/ids_text_document --seq-length 16 --num-samples 9,0,0 "
       "--data-cache-path {D}/text.jsonl/cache",
       2,
       {"{D}/text.jsonl/cache"}},
      {"data inde", 2, {"did you mean index?"}},
      {"data", 2, {}},
  });
}

TEST_F(BadInput, Vocabularies) {
  write("text.json", "no json");
  write("list.json", "[1]");
  write("latin.json", "{\"\xe4\": 0}");
  write("small.json", R"({"0": 0, "1": 1, " ": 2, "01": 3})");
  write("merges.txt", "#version: 0.2\n0 1\n");
  write("broken.txt", "#version: 0.2\n0 1\n0\n");
  write("foreign.txt", "a b\n");
  write("few.txt", "#version: 0.2\n");
  const std::string gpt2 =
      "preprocess --input {D}/text.jsonl --output-prefix {O}/out --tokenizer-type "
      "GPT2BPETokenizer ";
  const std::string assets = std::string(MEGALITH_SOURCE_DIR) + "/assets/gpt2/";
  check({
      {gpt2, 2, {"--vocab-file is missing", "--merge-file is missing"}},
      {gpt2 + "--vocab-file {D}/no --merge-file {D}/not",
       2,
       {"--vocab-file {D}/no: cannot open", "--merge-file {D}/not: cannot open"}},
      {gpt2 + "--vocab-file {D} --merge-file {D}", 2, {"--vocab-file {D}: is a folder"}},
      {gpt2 + "--vocab-file {D}/text.json --merge-file {D}/merges.txt",
       2,
       {"--vocab-file {D}/text.json: not a JSON file"}},
      {gpt2 + "--vocab-file {D}/list.json --merge-file {D}/merges.txt", 2, {"JSON object"}},
      {gpt2 + "--vocab-file {D}/latin.json --merge-file {D}/merges.txt",
       2,
       {"{D}/latin.json", "not valid UTF-8"}},
      {gpt2 + "--vocab-file {D}/small.json --merge-file {D}/broken.txt",
       2,
       {"--merge-file {D}/broken.txt, line 3", "got '0'"}},
      {gpt2 + "--vocab-file {D}/small.json --merge-file {D}/foreign.txt",
       2,
       {"--merge-file {D}/foreign.txt, line 1: 'a' is not in {D}/small.json"}},
      {gpt2 + "--vocab-file " + assets + "vocab.json --merge-file {D}/few.txt",
       2,
       {"--merge-file {D}/few.txt: no merge leads to", "cut short"}},
      {gpt2 + "--vocab-file {D}/small.json --merge-file {D}/merges.txt --append-eod",
       2,
       {"--append-eod needs an end-of-document token", "<|endoftext|>"}},
      {"... --tokenizer-type GPT2BPETokenizer --vocab-file {D}/small.json --merge-file "
       "{D}/merges.txt --vocab-size 4 --eod-mask-loss",
       2,
       {"--eod-mask-loss need", "<|endoftext|>"}},
      {"tokenize --tokenizer-type BertWordPieceCase --vocab-file {D}/merges.txt",
       2,
       {"{D}/merges.txt", "[UNK]"}},
  });
}

TEST_F(BadInput, Corpora) {
  write("json.jsonl", "{\"text\": \"1\"}\n{\"text\": \"2\"\n");
  write("key.jsonl", "{\"text\": \"1\"}\n\n{\"txt\": \"2\"}\n");
  write("type.jsonl", "{\"text\": 5}\n");
  write("id.jsonl", "{\"text\": \"1 2 95\"}\n");
  write("latin.jsonl", "{\"text\": \"\xe4\"}\n");
  write("none.jsonl", "");
  write("cut.jsonl.gz", std::string("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab", 11));
  write("bad.jsonl.zst", "\x28\xb5\x2f\xfd" + std::string(20, '\x55'));
  const std::string ids =
      "preprocess --output-prefix {O}/out --tokenizer-type NullTokenizer --vocab-size 90 --input ";
  check({
      {ids + "{D}/json.jsonl", 2, {"{D}/json.jsonl:2: not valid JSON", "--skip-bad-lines"}},
      {ids + "{D}/key.jsonl", 2, {"{D}/key.jsonl:3: has no key 'text'; its keys: txt"}},
      {ids + "{D}/type.jsonl", 2, {"{D}/type.jsonl:1: key 'text' holds a number"}},
      {ids + "{D}/id.jsonl", 2, {"{D}/id.jsonl:1", "'95' is not a token id from 0 to 90"}},
      {ids + "{D}/latin.jsonl", 2, {"{D}/latin.jsonl:1", "UTF-8"}},
      {ids + "{D}/none.jsonl", 2, {"{D}/none.jsonl: holds no document"}},
      {ids + "{D}/cut.jsonl.gz", 2, {"{D}/cut.jsonl.gz", "cut short"}},
      {ids + "{D}/bad.jsonl.zst", 2, {"{D}/bad.jsonl.zst: damaged zstd data"}},
      {ids + "{D}/nowhere {D}/neither", 2, {"--input {D}/nowhere", "--input {D}/neither"}},
      {ids, 2, {"--input needs at least one value"}},
      {ids + "{D}/text.jsonl --workers -1", 2, {"--workers must be between 0 and 1024"}},
      {ids + "{D}/text.jsonl --output-prefix {O}/no/out", 2, {"--output-prefix", "no folder"}},
      {ids + "{D}/text.jsonl --output-prefix {D}/text.jsonl/out", 2, {"is not a folder"}},
      {ids + "{D}/text.jsonl --output-prefix /proc/out", 2, {"--output-prefix /proc/out", "/proc"}},
      {ids + "{D}/text.jsonl --json-keys a/b", 2, {"--json-keys 'a/b'"}},
      {"preprocess", 2, {"--input is missing", "--output-prefix is missing", "--tokenizer-type"}},
  });
}

TEST_F(BadInput, OutputsThatCannotBeWrittenAreFoundBeforeTraining) {
  write("file", "");
  check({
      {"... --save {D}/file", 2, {"--save {D}/file cannot be written: {D}/file is not a folder"}},
      {"... --save {D}/file/deep/er", 2, {"{D}/file is not a folder"}},
      {"... --save /proc/here", 2, {"--save /proc/here", "nothing can be written in /proc"}},
      {"... --metrics-file {D}", 2, {"--metrics-file {D} cannot be written: it is a folder"}},
      {"... --metrics-file {O}/no/m.jsonl", 2, {"there is no folder {O}/no"}},
      {"... --metrics-file /proc/m.jsonl", 2, {"--metrics-file /proc/m.jsonl", "/proc"}},
      {"... --data-cache-path {D}/file", 2, {"--data-cache-path {D}/file cannot be written"}},
      {"... --data-cache-path /proc/x", 2, {"--data-cache-path /proc/x", "/proc"}},
      {"tokenize {D}/text.jsonl --tokenizer-type NullTokenizer --vocab-size 9 --output /proc/x",
       2,
       {"--output /proc/x cannot be written"}},
      {"generate --load {D} --prompt 1 --output {O}/no/out.jsonl",
       2,
       {"--output {O}/no/out.jsonl cannot be written: there is no folder"}},
  });
}

TEST_F(BadInput, OtherSubcommands) {
  write("open_array", "[1, 2");
  check({
      {"tokenize", 2, {"--tokenizer-type is missing"}},
      {"tokenize {D}/no --tokenizer-type NullTokenizer --vocab-size 9", 2, {"{D}/no: cannot open"}},
      {"tokenize {D} --tokenizer-type NullTokenizer --vocab-size 9", 2, {"{D}: is a folder"}},
      {"tokenize a b --tokenizer-type NullTokenizer --vocab-size 9", 2, {"unexpected word 'b'"}},
      {"tokenize {D}/open_array --decode --tokenizer-type NullTokenizer --vocab-size 9",
       2,
       {"{D}/open_array: '[1, 2' is no list of token ids"}},
      {"tokenize --ids text --tokenizer-type NullTokenizer --vocab-size 9", 2, {"add --decode"}},
      {"generate", 2, {"--load is missing", "no prompt"}},
      {"generate --load {D}/no --prompt 1", 2, {"{D}/no: does not exist"}},
      {"generate --load {D}/text.jsonl --prompt 1", 2, {"{D}/text.jsonl"}},
      {"generate --load {D} --prompt", 2, {"--prompt needs at least one value"}},
      {"generate --load {D} --prompt a --prompts-file b", 2, {"give one"}},
      {"checkpoint", 2, {}},
      {"checkpoint inspekt", 2, {"did you mean inspect?"}},
      {"checkpoint inspect", 2, {"DIR is missing"}},
      {"checkpoint inspect {D}/no", 2, {"{D}/no: does not exist"}},
      {"checkpoint list {D}/text.jsonl", 2, {"is not a folder"}},
      {"checkpoint diff {D}", 2, {"B is missing"}},
      {"launch", 2, {"--nproc-per-node is missing"}},
      {"launch --nproc-per-node", 2, {"--nproc-per-node needs a whole number, got nothing"}},
      {"launch --nproc-per-node 0 doctor", 2, {"between 1 and 1024, got 0"}},
      {"launch --nproc-per-node 2", 2, {"no subcommand"}},
      {"launch --nproc 2 doctor", 2, {"unknown flag --nproc"}},
      {"launch --nproc-per-node 2 pretrian", 2, {"did you mean pretrain?"}},
      {"", 2, {}},
      {"help nothing", 2, {"unknown subcommand 'nothing'"}},
  });
}

TEST_F(BadInput, RunFiles) {
  write("good.toml", "# a comment\nnum-layers = 1  # one\nsplit = '90,5,5'\nbf16 = false\n");
  const std::pair<std::string, std::string> broken[] = {
      {"lr = \n", "1: Error while parsing key-value pair: expected value"},
      {"seed = 1\n\nhidden-size: 32\n", "3: Error while parsing key-value pair: expected '='"},
      {"lr-decay-style = cosine\n", "1: Error while parsing value"},
      {"split = \"90,5\n", "1: Error while parsing string"},
      {"seed = 1 2\n", "1: Error while parsing key-value pair: expected a comment or whitespace"},
      {"data-path = [\n  \"a\",\n", "2: Error while parsing array"},
      {"seed = 1\nseed = 2\n", "2: Error while parsing key-value pair: cannot redefine"},
      {std::string("a\0b", 3), "1: Error while parsing"},
      {"a = '\xff'\n", "1: Encountered invalid utf-8"}};
  std::vector<Row> rows;
  for (const auto& [text, message] : broken) {
    const std::string name = fmt::format("broken{}.toml", rows.size());
    write(name, text);
    rows.push_back({"... --config {D}/" + name,
                    2,
                    {"{D}/" + name + ":" + message, "write settings as flag = value"}});
  }
  check(rows);
  write("unknown.toml", "num-layers = 2\n\nnum-layer = 3\nhiden-size = 32\n");
  write("types.toml",
        "num-layers = [1, 2]\nlr = \"fast\"\nbf16 = 1\nhidden-size = true\n"
        "[model]\nseed = 1\n");
  check({
      {"... --config {D}/no.toml", 2, {"--config {D}/no.toml: cannot open"}},
      {"... --config {D}", 2, {"--config {D}: is a folder"}},
      {"... --config", 2, {"--config needs the path of a run file"}},
      {"... --config {D}/unknown.toml",
       2,
       {"{D}/unknown.toml:3: unknown setting 'num-layer'; did you mean num-layers?",
        "{D}/unknown.toml:4: unknown setting 'hiden-size'; did you mean hidden-size?"}},
      {"pretrain gpt --config {D}/types.toml",
       2,
       {"{D}/types.toml:1: num-layers takes one value, got the list [1, 2]",
        "{D}/types.toml:2: --lr needs a number, got 'fast'",
        "{D}/types.toml:3: --bf16 needs true or false, got '1'",
        "{D}/types.toml:4: --hidden-size needs a whole number, got 'true'",
        "{D}/types.toml:5: 'model' is a table"}},
  });
  // A good file counts, and the command line wins over it.
  const auto run = run_process(pretrain("--config {D}/good.toml"));
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("num-layers 2"));
  EXPECT_THAT(run.out, HasSubstr("split 80,10,10"));
}

/// A blend without weights takes each dataset once: that it will not do is known at the start.
TEST_F(BadInput, ABlendThatWillRunOutIsRefusedAtTheStart) {
  check(
      {{"... --train-iters 400 --data-path {D}/ids_text_document {D}/ids_text_document "
        "--save {O}/run",
        2,
        {"the training data give ", " samples, and the run asks for 3200",
         "give weights (--data-path 0.5 A 0.5 B)"}}});
}

TEST_F(BadInput, AnInterfaceOfGlooThatIsNotThere) {
  ProcessOptions options;
  options.environment = {{"GLOO_SOCKET_IFNAME", "nope0"}};
  const Words run = pretrain("");
  const Words words =
      Words{MEGALITH_BINARY, "launch", "--nproc-per-node", "2"} + Words(run.begin() + 1, run.end());
  check_message({"", 2, {"GLOO_SOCKET_IFNAME=nope0: no interface of that name"}},
                run_process(words, options, kMostSeconds));
}

TEST_F(BadInput, ALossThatIsNoNumberEndsTheRun) {
  const Row row{"",
                1,
                {"iteration 2 skipped: the gradient of embedding.word_embeddings.weight is not "
                 "finite (lm loss ",
                 "lower --lr, or go on regardless with --no-check-for-nan-in-loss-and-grad"}};
  check_message(row, run_process(pretrain("--lr 1e30")));
  check_message({"", 1, {"iteration 1 skipped: the gradient of", "loss scale 1e+30"}},
                run_process(pretrain("--fp16 --loss-scale 1e30")));
  const auto regardless = run_process(pretrain("--lr 1e30 --no-check-for-nan-in-loss-and-grad"));
  EXPECT_EQ(regardless.status, 0) << regardless.err;
  EXPECT_THAT(regardless.out, HasSubstr("iteration        3/"));
}

TEST_F(BadInput, AShareOfNothingSwitchesItsEvaluationOff) {
  const auto result = run_process(pretrain("--split 1,0,0 --eval-iters 2 --eval-interval 1"));
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("no valid data: --split '1,0,0' gives it no share\n"));
  EXPECT_THAT(result.out, HasSubstr("no test data: --split '1,0,0' gives it no share\n"));
  EXPECT_THAT(result.out, Not(HasSubstr("loss at")));
}

TEST_F(BadInput, MetricsMayLieInAFolderThatTheRunMakes) {
  const auto result =
      run_process(pretrain("--save {O}/new/ --metrics-file {O}/new/m.jsonl --train-iters 1"));
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_TRUE(std::filesystem::exists(output_->path("new/m.jsonl")));
}

TEST_F(BadInput, SettingsWithoutUseAreNamed) {
  const auto result = run_process(pretrain("--rotary-base 5e5 --sgd-momentum 0.5 --dry-run"));
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.err,
            "notice: --rotary-base has no effect without --position-embedding-type rope\n"
            "notice: --sgd-momentum has no effect with --optimizer adam\n");
}

TEST_F(BadInput, CudaWhereThereIsNone) {
  const auto result = run_process(pretrain("--device cuda"));
  if (result.status == 0) GTEST_SKIP() << "this machine has CUDA";
  check_message({"", 2, {"--device cuda: ", "use --device cpu"}}, result);
}

TEST_F(BadInput, AFullDiskEndsPreprocessWithoutOutput) {
  // A limit on the size of files stands for the full disk: the write fails in the same place.
  const auto result = run_process(
      {"/bin/sh", "-c",
       fmt::format("trap '' XFSZ; ulimit -f 1; exec {} preprocess --input {} --output-prefix {} "
                   "--tokenizer-type NullTokenizer --vocab-size 90",
                   MEGALITH_BINARY, input("text.jsonl"), output_->path("out"))});
  check_message({"", 1, {"cannot write"}}, result);
  EXPECT_THAT(names_in(output_->path()), ::testing::IsEmpty());
  const auto full = run_process(
      {"/bin/sh", "-c",
       fmt::format("{} data info {} > /dev/full", MEGALITH_BINARY, input("ids_text_document"))});
  check_message({"", 1, {"standard output: cannot write"}}, full);
}

TEST_F(BadInput, AClosedStandardOutputEndsQuietly) {
  const auto result = run_process(
      {"/bin/bash", "-c",
       fmt::format("set -o pipefail; {} data show {} --count 60 | head -n 1 >/dev/null; "
                   "{} pretrain --help | true",
                   MEGALITH_BINARY, input("ids_text_document"), MEGALITH_BINARY)});
  EXPECT_THAT(result.err, Not(HasSubstr("Exception")));
  EXPECT_NE(result.status, -1);
}

/// A program that holds a port and is no store of ours.
class Listener {
 public:
  enum class Manner { kSilent, kSpeaksHttp };
  explicit Listener(Manner manner) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(socket_, reinterpret_cast<sockaddr*>(&address), size);
    ::listen(socket_, 16);
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    if (manner == Manner::kSpeaksHttp) thread_ = std::thread([this] { answer(); });
  }
  ~Listener() {
    ::shutdown(socket_, SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
    for (const int client : clients_) ::close(client);
    ::close(socket_);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  std::string port() const { return fmt::format("{}", port_); }

 private:
  void answer() {
    for (int client; (client = ::accept(socket_, nullptr, nullptr)) >= 0;) {
      const std::string text = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
      (void)::send(client, text.data(), text.size(), MSG_NOSIGNAL);
      clients_.push_back(client);
    }
  }
  int socket_;
  int port_ = 0;
  std::vector<int> clients_;
  std::thread thread_;
};

TEST_F(BadInput, APortThatBelongsToAnotherProgram) {
  for (const auto manner : {Listener::Manner::kSilent, Listener::Manner::kSpeaksHttp}) {
    const Listener listener(manner);
    for (const char* rank : {"0", "1"}) {
      SCOPED_TRACE(fmt::format("rank {}, {}", rank,
                               manner == Listener::Manner::kSilent ? "silent" : "HTTP"));
      check({"... --tensor-model-parallel-size 2",
             1,
             {"127.0.0.1:" + listener.port(), "in use by another program", "MASTER_PORT"}},
            {.input = {},
             .environment = {{"RANK", rank},
                             {"WORLD_SIZE", "2"},
                             {"MASTER_ADDR", "127.0.0.1"},
                             {"MASTER_PORT", listener.port()}}});
    }
  }
}

TEST_F(BadInput, AMistakeOfEveryRankIsToldOnce) {
  const auto result = run_process(command("launch --nproc-per-node 3 pretrain gpt --lr abc"));
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("[0] megalith: "));
  EXPECT_THAT(result.err, Not(HasSubstr("[1] megalith: ")));
}

}  // namespace
}  // namespace megalith::testing

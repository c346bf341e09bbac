#include "tests/e2e/tiny_tasks.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

namespace megalith::testing {
namespace {

constexpr int kWords = 40;
constexpr double kTaskPatience = 180;  // seconds; a run takes one or two

std::string word(int number) { return fmt::format("a{}", number % kWords); }

/// Some words by a rule, the same for every run.
std::string words(int number, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += (i == 0 ? "" : " ") + word(10 + (number * 7 + i * 11) % (kWords - 10));
  }
  return text;
}

/// The second sentence says the class.
std::string mnli(int first, int count, bool labelled) {
  const char* const labels[] = {"contradiction", "entailment", "neutral"};
  std::string text =
      labelled ? "index\tsentence1\tsentence2\tgold_label\n" : "index\tsentence1\tsentence2\n";
  for (int i = first; i < first + count; ++i) {
    const std::string sign = word(i % 3);
    text += fmt::format("{}\t{}\t{} {} {}", i, words(i, 2 + i % 4), sign, sign, sign);
    text += labelled ? fmt::format("\t{}\n", labels[i % 3]) : "\n";
  }
  return text;
}

std::string qqp(int first, int count, bool labelled) {
  std::string text = labelled ? "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
                              : "id\tquestion1\tquestion2\n";
  for (int i = first; i < first + count; ++i) {
    const std::string both = fmt::format("{}\t{} {}", words(i, 3), word(i % 2), words(i, 2));
    text += labelled ? fmt::format("{}\t1\t2\t{}\t{}\n", i, both, i % 2)
                     : fmt::format("{}\t{}\n", i, both);
  }
  return text;
}

std::string classes_csv(int first, int count) {
  std::string text = "text,label\n";
  for (int i = first; i < first + count; ++i) {
    text += fmt::format("\"{}, {}\",{}\n", words(i, 3), word(i % 2), i % 2 == 0 ? "good" : "bad");
  }
  return text;
}

/// The right choice is the word a0; the context and the others are of no use.
std::string choice_lines(int first, int count) {
  std::string text;
  for (int i = first; i < first + count; ++i) {
    std::vector<std::string> choices{words(i, 1), words(i + 1, 1), words(i + 2, 1)};
    choices[static_cast<size_t>(i % 3)] = word(0);
    text +=
        nlohmann::json{
            {"context", words(i, 6)}, {"question", "a1"}, {"choices", choices}, {"label", i % 3}}
            .dump() +
        "\n";
  }
  return text;
}

std::string race_article(int number) {
  nlohmann::json article{{"id", fmt::format("{}.txt", number)}, {"article", words(number, 8)}};
  for (int i = 0; i < 2; ++i) {
    std::vector<std::string> options;
    for (int k = 0; k < 4; ++k) options.push_back(words(number + i + k, 2));
    const int right = (number + i) % 4;
    options[static_cast<size_t>(right)] = word(0) + " " + word(1);
    article["questions"].push_back(i == 0 ? "a2 _ ." : "a3");
    article["options"].push_back(options);
    article["answers"].push_back(std::string(1, static_cast<char>('A' + right)));
  }
  return article.dump();
}

/// The answer is the word behind a5; without a5 there is none.
std::string squad(int first, int count, bool with_unanswerable, bool labelled = true) {
  nlohmann::json paragraphs = nlohmann::json::array();
  for (int i = first; i < first + count; ++i) {
    const bool is_impossible = with_unanswerable && i % 4 == 3;
    const std::string before = words(i, 2 + i % 3) + " ";
    const std::string context =
        before + (is_impossible ? "a7 " : "a5 ") + word(20 + i % 9) + " " + words(i + 3, 6);
    nlohmann::json question{{"id", fmt::format("q{}", i)}, {"question", "a6 ?"}};
    nlohmann::json answers = nlohmann::json::array();
    if (!is_impossible) {
      answers.push_back({{"text", word(20 + i % 9)}, {"answer_start", before.size() + 3}});
    }
    if (labelled) question["answers"] = answers;
    if (with_unanswerable) question["is_impossible"] = is_impossible;
    paragraphs.push_back({{"context", context}, {"qas", {question}}});
  }
  return nlohmann::json{{"version", "x"}, {"data", {{{"title", "t"}, {"paragraphs", paragraphs}}}}}
      .dump();
}

}  // namespace

void TinyTasks::write(const std::string& name, const std::string& bytes) {
  const std::filesystem::path path = file(name);
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << bytes;
}

std::string TinyTasks::bytes_of(const std::string& name) {
  std::ifstream in(file(name));
  EXPECT_TRUE(in.good()) << name;
  std::stringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

nlohmann::json TinyTasks::json_file(const std::string& name) {
  return nlohmann::json::parse(bytes_of(name));
}

void TinyTasks::SetUpTestSuite() {
  TinyRun::SetUpTestSuite();
  std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n.\n?\n,\n";
  for (int i = 0; i < kWords; ++i) vocabulary += word(i) + "\n";
  write("vocab.txt", vocabulary);
  std::string text;
  for (int i = 0; i < 40; ++i) {
    std::string sentences;
    for (int k = 0; k < 4; ++k) {
      std::string sentence = words(i + k, 5);
      sentence[0] = 'A';  // a capital letter begins a sentence
      sentences += sentence + ". ";
    }
    text += nlohmann::json{{"text", sentences}}.dump() + "\n";
  }
  write("sentences.jsonl", text);
  const Words tokenizer{"--tokenizer-type", "BertWordPieceLowerCase", "--vocab-file",
                        file("vocab.txt")};
  const auto made =
      run_process(Words{MEGALITH_BINARY, "preprocess", "--input", file("sentences.jsonl"),
                        "--output-prefix", file("sentences"), "--split-sentences"} +
                  tokenizer);
  ASSERT_EQ(made.status, 0) << made.err;
  const auto trained = run_process(Words{MEGALITH_BINARY,
                                         "pretrain",
                                         "bert",
                                         "--data-path",
                                         file("sentences_text_sentence"),
                                         "--num-layers",
                                         "2",
                                         "--hidden-size",
                                         "32",
                                         "--num-attention-heads",
                                         "4",
                                         "--seq-length",
                                         "32",
                                         "--max-position-embeddings",
                                         "48",
                                         "--micro-batch-size",
                                         "4",
                                         "--train-iters",
                                         "2",
                                         "--lr",
                                         "1e-4",
                                         "--eval-iters",
                                         "0",
                                         "--split",
                                         "1,0,0",
                                         "--make-vocab-size-divisible-by",
                                         "8",
                                         "--num-threads",
                                         "1",
                                         "--save",
                                         file("pretrained")} +
                                       tokenizer,
                                   {}, kTaskPatience);
  ASSERT_EQ(trained.status, 0) << trained.err;
  write("mnli/train.tsv", mnli(0, 96, true));
  write("mnli/dev_matched.tsv", mnli(200, 21, true));
  write("mnli/dev_mismatched.tsv", mnli(300, 13, true));
  write("mnli/test_matched.tsv", mnli(400, 9, false));
  write("mnli/test_mismatched.tsv", mnli(500, 7, false));
  write("qqp/train.tsv", qqp(0, 96, true));
  write("qqp/dev.tsv", qqp(200, 30, true));
  write("qqp/test.tsv", qqp(300, 10, false));
  write("classification/train.csv", classes_csv(0, 64));
  write("classification/dev.csv", classes_csv(100, 19));
  write("multiple-choice/train.jsonl", choice_lines(0, 64));
  write("multiple-choice/dev.jsonl", choice_lines(100, 17));
  for (int i = 0; i < 32; ++i) {
    write(fmt::format("race/train/{}/{}.txt", i % 2 == 0 ? "high" : "middle", i), race_article(i));
  }
  for (int i = 100; i < 108; ++i) {
    write(fmt::format("race/dev/{}/{}.txt", i % 2 == 0 ? "high" : "middle", i), race_article(i));
  }
  write("squad/train.json", squad(0, 96, false));
  write("squad/dev.json", squad(200, 20, false));
  write("squad/train2.json", squad(0, 96, true));
  write("squad/dev2.json", squad(200, 20, true));
  write("squad/test2.json", squad(300, 8, true, /*labelled=*/false));
}

Words TinyTasks::data_of(const std::string& task, bool with_test) {
  const auto path = [&](const std::string& name) { return file(task + "/" + name); };
  const auto flags = [&](const std::string& train, const Words& dev, const Words& test) {
    Words all = Words{"--train-data", path(train), "--valid-data"};
    for (const auto& name : dev) all.push_back(path(name));
    if (!with_test || test.empty()) return all;
    all.push_back("--test-data");
    for (const auto& name : test) all.push_back(path(name));
    return all;
  };
  if (task == "mnli") {
    return flags("train.tsv", {"dev_matched.tsv", "dev_mismatched.tsv"},
                 {"test_matched.tsv", "test_mismatched.tsv"});
  }
  if (task == "qqp") return flags("train.tsv", {"dev.tsv"}, {"test.tsv"});
  if (task == "classification") return flags("train.csv", {"dev.csv"}, {});
  if (task == "multiple-choice") return flags("train.jsonl", {"dev.jsonl"}, {});
  if (task == "race") return flags("train", {"dev"}, {});
  return flags("train.json", {"dev.json"}, {});
}

ProcessResult TinyTasks::finetune(int64_t num_ranks, const std::string& task, const Words& flags) {
  Words all{MEGALITH_BINARY};
  if (num_ranks > 1) all = all + Words{"launch", "--nproc-per-node", std::to_string(num_ranks)};
  all = all + Words{"finetune", task} + flags;
  const auto add = [&](const char* flag, const std::string& value) {
    if (std::find(flags.begin(), flags.end(), flag) == flags.end()) all = all + Words{flag, value};
  };
  const bool loads = std::find(flags.begin(), flags.end(), "--load") != flags.end();
  if (!loads) add("--pretrained-checkpoint", file("pretrained"));
  add("--seq-length", "32");
  if (task == "squad") add("--max-query-length", "4");
  add("--micro-batch-size", "4");
  add("--global-batch-size", "8");
  add("--lr", "3e-3");
  add("--lr-warmup-fraction", "0.1");
  add("--log-interval", "4");
  add("--num-threads", "1");
  return run_process(all, {}, kTaskPatience);
}

std::string TinyTasks::tune(int64_t num_ranks, const std::string& task, const Words& flags) {
  const auto result = finetune(num_ranks, task, flags);
  EXPECT_EQ(result.status, 0) << result.err << result.out;
  return result.out;
}

ProcessResult TinyTasks::evaluate(int64_t num_ranks, const std::string& task, const Words& flags) {
  Words all{MEGALITH_BINARY};
  if (num_ranks > 1) all = all + Words{"launch", "--nproc-per-node", std::to_string(num_ranks)};
  return run_process(all + Words{"evaluate", task} + flags + Words{"--num-threads", "1"}, {},
                     kTaskPatience);
}

}  // namespace megalith::testing

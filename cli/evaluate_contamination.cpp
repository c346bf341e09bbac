// megalith evaluate contamination: the share of a test set's 8-grams that training data hold.
#include <algorithm>
#include <chrono>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/progress_line.hpp"
#include "megalith/core/output_path.hpp"
#include "megalith/parallel/launch.hpp"
#include "megalith/tasks/contamination.hpp"
#include "megalith/tasks/text_source.hpp"
#include "megalith/tasks/word_stream.hpp"

namespace megalith::cli {
namespace {

constexpr double kMegabyte = 1024.0 * 1024.0;

struct Flags {
  std::vector<std::string> train, test, json_keys{"text"};
  std::optional<std::string> report;
  TokenizerConfig tokenizer;

  FieldList fields() {
    return {
        {"train", &train,
         "Training data: prefixes of indexed datasets, which are decoded, text files, JSON lines."},
        {"test", &test, "Test data, likewise."},
        {"json-keys", &json_keys, "The keys of JSON lines whose texts are taken."},
        {"report", &report, "Write the results here as JSON as well; replaces a file."},
    };
  }
};

std::vector<TextSource> sources_of(const std::vector<std::string>& paths, const char* flag,
                                   Problems& problems) {
  if (paths.empty()) {
    problems.add_missing(flag, "give text files, JSON lines or prefixes of indexed datasets");
  }
  std::vector<TextSource> sources;
  for (const auto& path : paths) sources.push_back(describe_source(path, flag, problems));
  return sources;
}

bool is_dataset(const TextSource& source) { return source.kind == SourceKind::kDataset; }

void check_tokenizer(const Flags& flags, const std::vector<TextSource>& sources,
                     Problems& problems) {
  const auto dataset = std::find_if(sources.begin(), sources.end(), is_dataset);
  if (dataset == sources.end()) {
    if (!flags.tokenizer.tokenizer_type) return;
    problems.add("--tokenizer-type {}: no dataset is to be decoded; leave it out",
                 *flags.tokenizer.tokenizer_type);
  } else if (!flags.tokenizer.tokenizer_type) {
    problems.add("{}: is an indexed dataset; give --tokenizer-type and its files to decode it",
                 dataset->path);
  } else {
    check_tokenizer_config(flags.tokenizer, problems);
    check_tokenizer_files(flags.tokenizer, problems);
  }
}

/// Megabytes, and time left, of the training data.
class Progress {
 public:
  explicit Progress(const std::vector<TextSource>& sources) {
    for (const auto& source : sources) all_ += source.size_bytes;
  }
  void begin(const TextSource& source) {
    before_ += current_;
    current_ = source.size_bytes;
  }
  void tell(int64_t bytes) {
    const double share =
        static_cast<double>(before_ + bytes) / static_cast<double>(std::max<int64_t>(all_, 1));
    const bool log_now = !line_.on_terminal() && share < 1 && static_cast<int>(share * 10) > tenth_;
    if (!log_now && !line_.due()) return;
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
    const std::string text = fmt::format("read {:.1f} of {:.1f} MB, {:.0f}%, {} left",
                                         static_cast<double>(before_ + bytes) / kMegabyte,
                                         static_cast<double>(all_) / kMegabyte, 100 * share,
                                         duration_text(passed.count() * (1 - share) / share));
    if (log_now) {
      line_.print(text);
      tenth_ = static_cast<int>(share * 10);
    } else {
      line_.show(text);
    }
  }

 private:
  ProgressLine line_;
  int64_t all_ = 0, before_ = 0, current_ = 0;
  int tenth_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void read_test(NgramOverlap& overlap, const std::vector<TextSource>& sources, TextReading reading) {
  WordStream words([&](std::string_view word) { overlap.add_test_word(word); });
  reading.on_piece = [&](std::string_view piece) { words.feed(piece); };
  reading.on_end = [&] {
    words.end();
    overlap.end_test_text();
  };
  for (const auto& source : sources) {
    overlap.begin_test(source.path);
    read_texts(source, reading);
  }
  if (overlap.counts().ngrams > 0) return;
  throw UsageError("--test: no text of these files has {} words in a row; give the test data",
                   NgramOverlap::kWords);
}

void read_train(NgramOverlap& overlap, const std::vector<TextSource>& sources,
                TextReading reading) {
  WordStream words([&](std::string_view word) { overlap.see_train_word(word); });
  words.set_longest_word(overlap.longest_word());
  Progress progress(sources);
  reading.on_piece = [&](std::string_view piece) { words.feed(piece); };
  reading.on_end = [&] {
    words.end();
    overlap.end_train_text();
  };
  reading.on_progress = [&](int64_t bytes) { progress.tell(bytes); };
  for (const auto& source : sources) {
    progress.begin(source);
    read_texts(source, reading);
  }
}

}  // namespace

int run_evaluate_contamination(const Words& words) {
  Flags flags;
  CommandLine command(
      "megalith evaluate contamination",
      "How much of a test set the training data hold. \"overlap\" is the figure of the Megatron-LM "
      "paper (section 5.3): the share of the test's 8-grams, of lower-cased words of letters and "
      "digits, that are found in training, every place counted; \"distinct_overlap\" counts each "
      "different 8-gram once. Exact; the training data stream through.");
  command.section("Input and output", flags.fields());
  command.section("Tokenizer (for indexed datasets)", flags.tokenizer.fields());
  command.run_file();
  using Kind = ForeignFlag::Kind;
  for (const char* flag :
       {"load", "seq-length", "micro-batch-size", "tensor-model-parallel-size", "device",
        "distributed-backend", "num-threads", "distributed-timeout-minutes"}) {
    command.foreign({{flag, Kind::kIgnored, "no model takes part in contamination", 1}});
  }
  command.epilogue(
      "Example:\n"
      "  megalith evaluate contamination --train corpus_text_document \\\n"
      "    --test wiki.test.tokens --tokenizer-type GPT2BPETokenizer \\\n"
      "    --vocab-file vocab.json --merge-file merges.txt");
  const int64_t rank = read_launch_environment().rank;
  Problems problems;
  if (!command.parse(words, problems, rank == 0) || rank != 0) return 0;  // one process does it
  const auto train = sources_of(flags.train, "train", problems);
  const auto test = sources_of(flags.test, "test", problems);
  std::vector<TextSource> all = train;
  all.insert(all.end(), test.begin(), test.end());
  check_tokenizer(flags, all, problems);
  if (flags.report) {
    if (const auto why = why_no_file(*flags.report)) {
      problems.add("--report {} cannot be written: {}", *flags.report, *why);
    }
  }
  problems.raise_if_any();

  const auto tokenizer = flags.tokenizer.tokenizer_type ? make_tokenizer(flags.tokenizer) : nullptr;
  const TextReading reading{.json_keys = flags.json_keys, .tokenizer = tokenizer.get()};
  NgramOverlap overlap;
  read_test(overlap, test, reading);
  read_train(overlap, train, reading);
  Report report("contamination");
  report.add("train", fmt::format("{}", fmt::join(flags.train, " ")), "");
  report.add("test", fmt::format("{}", fmt::join(flags.test, " ")), "");
  overlap.add_to(report);
  fmt::print("{}", report.text());
  if (flags.report) report.write(*flags.report);
  return 0;
}

}  // namespace megalith::cli

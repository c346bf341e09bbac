// megalith data index and data samples: the sample order of a training run, built ahead of it or
// looked at. Both take the flags of pretrain, so that a run's own words give the run's own order;
// flags that have no say in it are taken in silence.
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/foreign_flags.hpp"
#include "megalith/data/build_datasets.hpp"
#include "megalith/training/run_config.hpp"

namespace megalith::cli {
namespace {

/// Flags of pretrain that sizes of datasets follow from.
const std::set<std::string> kSizeFlags = {"seq-length",        "seed",
                                          "train-iters",       "train-samples",
                                          "eval-interval",     "eval-iters",
                                          "micro-batch-size",  "global-batch-size",
                                          "rampup-batch-size", "decrease-batch-size-if-needed"};

int64_t num_values(const Field& field) {
  if (std::holds_alternative<bool*>(field.value)) return 0;
  const bool list = std::holds_alternative<std::vector<std::string>*>(field.value) ||
                    std::holds_alternative<std::vector<int64_t>*>(field.value);
  if (!list) return 1;
  return field.count > 0 ? field.count : -1;
}

/// Everything pretrain takes that is not in `used`.
std::vector<ForeignFlag> pretrain_flags_not_used_here(RunConfig& config,
                                                      const std::set<std::string>& used) {
  std::vector<ForeignFlag> flags;
  for (const auto& [title, fields] : config.sections()) {
    for (const Field& field : fields) {
      if (used.contains(field.name)) continue;
      flags.push_back({field.name, ForeignFlag::Kind::kIgnored, "", num_values(field)});
    }
  }
  for (ForeignFlag flag : pretrain_foreign_flags()) {
    const bool renamed = flag.kind == ForeignFlag::Kind::kOldSpelling && used.contains(flag.text);
    if (!renamed) flag.kind = ForeignFlag::Kind::kIgnored;
    flags.push_back(std::move(flag));
  }
  return flags;
}

/// What both commands are told.
struct OrderFlags {
  RunConfig config;
  std::optional<std::string> num_samples;

  void add_to(CommandLine& line) {
    std::set<std::string> used = kSizeFlags;
    FieldList sizes;
    for (const auto& [title, fields] : config.sections()) {
      const bool whole = title == "Data" || title == "Tokenizer";
      if (whole) line.section(title, fields);
      for (const Field& field : fields) {
        if (whole) used.insert(field.name);
        if (!whole && kSizeFlags.contains(field.name)) sizes.push_back(field);
      }
    }
    sizes.push_back({"num-samples", &num_samples,
                     "TRAIN,VALID,TEST: sizes of the three datasets, instead of those that follow "
                     "from iterations and batch sizes."});
    line.section("Sizes", sizes);
    line.foreign(pretrain_flags_not_used_here(config, used));
    line.run_file();
  }

  SampleCounts counts(Problems& problems) const {
    if (num_samples) return counts_given(problems);
    const auto& training = config.training;
    if (training.train_iters.has_value() == training.train_samples.has_value()) {
      problems.add("give --num-samples TRAIN,VALID,TEST, or --train-iters, or --train-samples");
      return {};
    }
    if (!config.batch.global_batch_size) {
      problems.add(
          "--global-batch-size is missing: a run that is not told takes --micro-batch-size times "
          "its data-parallel ranks; give that product here");
      return {};
    }
    const int64_t batch = *config.batch.global_batch_size;
    return requested_samples(iterations(), training.train_samples, config.logging.eval_interval,
                             config.logging.eval_iters, batch);
  }

  DatasetRequest request() const {
    Problems problems;
    DatasetRequest request{.sequence_length = config.training.seq_length,
                           .seed = config.training.seed};
    if (request.sequence_length < 1) {
      problems.add_missing("seq-length", "give the tokens of one sample, e.g. 1024");
    }
    config.data.check(problems);
    request.samples = counts(problems);
    problems.raise_if_any();
    if (!num_samples && config.logging.eval_iters == 0) request.wanted = {true, false, false};
    request.vocab_size = config.tokenizer.vocab_size.value_or(0);
    request.notice = [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
    if (config.tokenizer.tokenizer_type) {
      const auto tokenizer = make_tokenizer(config.tokenizer);
      request.vocab_size = tokenizer->vocab_size();
      request.eod = tokenizer->eod();
      request.pad = tokenizer->pad();
      request.tokenizer_json = tokenizer->description().dump();
    }
    return request;
  }

 private:
  SampleCounts counts_given(Problems& problems) const {
    long long train = 0, valid = 0, test = 0;
    int end = 0;
    const std::string& text = *num_samples;
    const int read = std::sscanf(text.c_str(), "%lld,%lld,%lld%n", &train, &valid, &test, &end);
    if (read != 3 || static_cast<size_t>(end) != text.size() || train < 0 || valid < 0 ||
        test < 0) {
      problems.add("--num-samples '{}' must be three counts, as in 1000,100,0", text);
      return {};
    }
    return {train, valid, test};
  }

  int64_t iterations() const {
    if (config.training.train_iters) return *config.training.train_iters;
    BatchSizeConfig batch = config.batch;
    batch.micro_batch_size = batch.micro_batch_size.value_or(1);
    return BatchSizeSchedule(batch, 1).num_iterations(*config.training.train_samples);
  }
};

std::string numbers(const std::vector<int64_t>& values) {
  return fmt::format("[{}]", fmt::join(values, ","));
}

void print_sample(int64_t index, const Sample& sample) {
  const std::vector<int64_t> mask(sample.loss_mask.begin(), sample.loss_mask.end());
  fmt::print(R"({{"index":{},"tokens":{},"labels":{},"loss_mask":{},"position_ids":{}}})"
             "\n",
             index, numbers(sample.tokens), numbers(sample.labels), numbers(mask),
             numbers(sample.position_ids));
}

}  // namespace

int run_data_index(const Words& words) {
  OrderFlags flags;
  CommandLine line("megalith data index",
                   "Build the sample order of a training run ahead of it. Takes the flags of "
                   "pretrain. No tokenizer is needed; but the names of the files tell the "
                   "tokenizer, so give the run's own flags for the run to find them.");
  flags.add_to(line);
  line.epilogue(
      "Example:\n"
      "  megalith data index --data-path corpus_text_document --seq-length 1024 \\\n"
      "    --num-samples 100000,1000,0 --split 99,1,0");
  if (!line.parse(words, false)) return 0;
  const Datasets datasets = build_datasets(flags.config.data, flags.request());
  for (const Split split : kSplits) {
    if (datasets.of(split)) {
      fmt::print("{}: {}\n", split_name(split), datasets.of(split)->summary());
    }
  }
  if (flags.config.data.mock_data) return 0;
  fmt::print("index files in {}\n",
             flags.config.data.data_cache_path.value_or("PREFIX/cache/GPTDataset_indices of each "
                                                        "dataset"));
  return 0;
}

int run_data_samples(const Words& words) {
  OrderFlags flags;
  Split which = Split::kTrain;
  int64_t first = 0, count = 1;
  CommandLine line("megalith data samples",
                   "Print samples as training sees them, one JSON object a line. Takes the flags "
                   "of pretrain. Counts in the dataset as built, which may hold more samples than "
                   "were asked for. Writes no file.");
  line.section("Samples", {{"which", choice(which, {"train", "valid", "test"}), "The dataset."},
                           {"first", &first, "The first sample, from 0.", at_least(0)},
                           {"count", &count, "How many samples.", at_least(0)}});
  flags.add_to(line);
  if (!line.parse(words, false)) return 0;
  DatasetRequest request = flags.request();
  request.role = IndexRole::kLoadOrBuildPrivately;
  for (const Split split : kSplits) request.wanted[static_cast<size_t>(split)] = split == which;
  const Datasets datasets = build_datasets(flags.config.data, request);
  const auto& dataset = datasets.of(which);
  const int64_t held = dataset ? dataset->num_samples() : 0;
  if (first > held || count > held - first) {
    throw UsageError("--first {} --count {}: the {} dataset holds {} samples, counted from 0",
                     first, count, split_name(which), held);
  }
  for (int64_t k = first; k < first + count; ++k) print_sample(k, dataset->sample(k));
  return 0;
}

}  // namespace megalith::cli

#include "cli/order_flags.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/foreign_flags.hpp"

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
    if (used.contains(flag.name)) continue;
    const bool renamed = flag.kind == ForeignFlag::Kind::kOldSpelling && used.contains(flag.text);
    if (!renamed) flag.kind = ForeignFlag::Kind::kIgnored;
    flags.push_back(std::move(flag));
  }
  return flags;
}

}  // namespace

void OrderFlags::add_to(CommandLine& line) {
  std::set<std::string> used = kSizeFlags;
  FieldList sizes;
  line.section("Kind", {{"dataset", choice(kind, {"gpt", "bert"}),
                         "What the samples are for: windows of tokens, or masked sentences."}});
  for (const auto& [title, fields] : config.sections()) {
    const bool whole = title == "Data" || title == "Tokenizer";
    if (whole) line.section(title, fields);
    for (const Field& field : fields) {
      if (whole) used.insert(field.name);
      if (!whole && kSizeFlags.contains(field.name)) sizes.push_back(field);
    }
  }
  line.section("BERT's samples", bert.fields());
  for (const Field& field : bert.fields()) used.insert(field.name);
  sizes.push_back({"num-samples", &num_samples,
                   "TRAIN,VALID,TEST: sizes of the three datasets, instead of those that follow "
                   "from iterations and batch sizes."});
  line.section("Sizes", sizes);
  line.foreign(pretrain_flags_not_used_here(config, used));
  line.run_file();
}

SampleCounts OrderFlags::counts(Problems& problems) const {
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

SampleCounts OrderFlags::counts_given(Problems& problems) const {
  long long train = 0, valid = 0, test = 0;
  int end = 0;
  const std::string& text = *num_samples;
  const int read = std::sscanf(text.c_str(), "%lld,%lld,%lld%n", &train, &valid, &test, &end);
  if (read != 3 || static_cast<size_t>(end) != text.size() || train < 0 || valid < 0 || test < 0) {
    problems.add("--num-samples '{}' must be three counts, as in 1000,100,0", text);
    return {};
  }
  return {train, valid, test};
}

int64_t OrderFlags::iterations() const {
  if (config.training.train_iters) return *config.training.train_iters;
  BatchSizeConfig batch = config.batch;
  batch.micro_batch_size = batch.micro_batch_size.value_or(1);
  return BatchSizeSchedule(batch, 1).num_iterations(*config.training.train_samples);
}

void OrderFlags::check_kind(const CommandLine& line, Problems& problems) const {
  if (kind == DatasetKind::kBert) {
    bert.check(config.training.seq_length, config.training.seed, problems);
    return;
  }
  BertDataConfig names;
  for (const Field& field : names.fields()) {
    if (!line.given(field.name)) continue;
    problems.add("--{} has no meaning for GPT's samples; give --dataset bert, or leave it out",
                 field.name);
  }
}

DatasetRequest OrderFlags::request(const CommandLine& line) const {
  Problems problems;
  DatasetRequest request{.kind = kind,
                         .sequence_length = config.training.seq_length,
                         .seed = config.training.seed,
                         .bert = bert};
  if (request.sequence_length < 1) {
    problems.add_missing("seq-length", "give the tokens of one sample, e.g. 1024");
  }
  config.data.check(problems);
  check_kind(line, problems);
  request.samples = counts(problems);
  problems.raise_if_any();
  if (!num_samples && config.logging.eval_iters == 0) request.wanted = {true, false, false};
  request.vocab_size = config.tokenizer.vocab_size.value_or(0);
  request.notice = [](const std::string& text) { fmt::print(stderr, "{}\n", text); };
  take_tokenizer(request);
  return request;
}

void OrderFlags::take_tokenizer(DatasetRequest& request) const {
  std::unique_ptr<Tokenizer> tokenizer;
  if (config.tokenizer.tokenizer_type) {
    tokenizer = make_tokenizer(config.tokenizer);
    request.vocab_size = tokenizer->vocab_size();
    request.eod = tokenizer->eod();
    request.pad = tokenizer->pad();
    request.tokenizer_json = tokenizer->description().dump();
  }
  if (kind == DatasetKind::kBert) {
    request.word_pieces =
        make_word_pieces(tokenizer.get(), request.vocab_size, config.data.mock_data);
  }
}

}  // namespace megalith::cli

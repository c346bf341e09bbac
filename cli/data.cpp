// megalith data: look at, check and join indexed datasets. `index` and `samples`, which follow the
// flags of pretrain, are in data_index.cpp.
#include <algorithm>
#include <cstdio>

#include "cli/command_line.hpp"
#include "cli/command_table.hpp"
#include "cli/commands.hpp"
#include "megalith/data/indexed_dataset.hpp"
#include "megalith/data/verify_indexed_dataset.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith::cli {
namespace {

constexpr int kMaxPrefixes = 100000;

/// The tokenizer of the flags, or nothing when no flag of it was given.
std::unique_ptr<Tokenizer> optional_tokenizer(const TokenizerConfig& config) {
  if (config.tokenizer_type) return make_tokenizer(config);
  if (config.vocab_file || config.merge_file || config.tokenizer_model) {
    throw UsageError(
        "--vocab-file, --merge-file and --tokenizer-model need --tokenizer-type, such as "
        "GPT2BPETokenizer");
  }
  return nullptr;
}

void print_info(const IndexedDataset& dataset) {
  const auto lengths = dataset.sequence_lengths();
  const auto count = static_cast<double>(std::max<size_t>(lengths.size(), 1));
  fmt::print("{}\n", dataset.prefix());
  fmt::print("  documents         {}\n", dataset.num_documents());
  fmt::print("  sequences         {}\n", dataset.num_sequences());
  fmt::print("  tokens            {}\n", dataset.num_tokens());
  fmt::print("  type              {} (code {})\n", token_type_name(dataset.token_type()),
             static_cast<int>(dataset.token_type()));
  fmt::print("  mean sequence     {:.1f} tokens\n",
             static_cast<double>(dataset.num_tokens()) / count);
  fmt::print("  longest sequence  {} tokens\n",
             lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end()));
  fmt::print("  modes             {}\n", dataset.sequence_modes().empty() ? "no" : "yes");
  fmt::print("  .bin              {} bytes\n", dataset.token_bytes().size());
  fmt::print("  .idx              {} bytes\n", dataset.index_bytes().size());
}

int run_info(const Words& words) {
  std::vector<std::string> prefixes;
  CommandLine command("megalith data info", "Print counts and types of indexed datasets.");
  command.positional("PREFIX", prefixes, "path of a dataset without .bin or .idx", 1, kMaxPrefixes);
  if (!command.parse(words)) return 0;
  for (const auto& prefix : prefixes) print_info(IndexedDataset(prefix));
  return 0;
}

void show_document(const IndexedDataset& dataset, int64_t document, const Tokenizer* tokenizer) {
  const auto& bounds = dataset.document_array();
  for (int64_t sequence = bounds[document]; sequence < bounds[document + 1]; ++sequence) {
    const std::vector<int64_t> ids = dataset.read(sequence);
    if (tokenizer == nullptr) {
      fmt::print("[{}]\n", fmt::join(ids, ", "));
      continue;
    }
    for (const int64_t id : ids) {
      if (id < 0 || id >= tokenizer->vocab_size()) {
        throw UsageError(
            "{}: document {} holds id {}, which is not in the vocabulary of {}; was the "
            "data made with another tokenizer?",
            dataset.prefix(), document, id, tokenizer->vocab_size());
      }
    }
    fmt::print("{}\n", tokenizer->decode(std::vector<int32_t>(ids.begin(), ids.end())));
  }
}

int run_show(const Words& words) {
  std::vector<std::string> prefixes;
  TokenizerConfig config;
  int64_t document = 0, count = 1;
  CommandLine command("megalith data show",
                      "Print documents: a list of ids a line for each sequence, or the text when a "
                      "tokenizer is given.");
  command.positional("PREFIX", prefixes, "path of a dataset without .bin or .idx", 1, 1);
  command.section("Documents", {{"document", &document, "The first document, from 0.", at_least(0)},
                                {"count", &count, "How many documents.", at_least(1)}});
  command.section("Tokenizer", config.fields());
  if (!command.parse(words)) return 0;
  const auto tokenizer = optional_tokenizer(config);
  const IndexedDataset dataset(prefixes.front());
  if (document >= dataset.num_documents() || count > dataset.num_documents() - document) {
    throw UsageError("--document {} --count {}: {} holds {} documents, counted from 0", document,
                     count, dataset.prefix(), dataset.num_documents());
  }
  check_index_arrays(dataset);
  for (int64_t i = document; i < document + count; ++i) show_document(dataset, i, tokenizer.get());
  return 0;
}

/// A dataset that is not sound does not keep the others from being looked at.
std::optional<DatasetSurvey> survey_or_problem(const std::string& prefix,
                                               std::optional<int64_t> vocab_size,
                                               Problems& problems) {
  try {
    return verify_indexed_dataset(prefix, vocab_size);
  } catch (const UsageError& error) {
    problems.add("{}", error.what());
    return std::nullopt;
  }
}

int run_verify(const Words& words) {
  std::vector<std::string> prefixes;
  TokenizerConfig config;
  CommandLine command("megalith data verify",
                      "Check every byte of indexed datasets; the first violation is named with its "
                      "offset. With --vocab-size or a tokenizer, also that every id is in the "
                      "vocabulary.");
  command.positional("PREFIX", prefixes, "path of a dataset without .bin or .idx", 1, kMaxPrefixes);
  command.section("Vocabulary", config.fields());
  if (!command.parse(words)) return 0;
  const auto tokenizer = optional_tokenizer(config);
  const auto vocab_size = tokenizer ? tokenizer->vocab_size() : config.vocab_size;
  Problems problems;
  for (const auto& prefix : prefixes) {
    const auto found = survey_or_problem(prefix, vocab_size, problems);
    if (!found) continue;
    const DatasetSurvey& survey = *found;
    fmt::print("{}: sound; {} documents ({} empty), {} sequences ({} empty), {} tokens", prefix,
               survey.num_documents, survey.empty_documents, survey.num_sequences,
               survey.empty_sequences, survey.num_tokens);
    if (survey.num_tokens > 0) {
      fmt::print(", largest id {}, longest document {} tokens", survey.largest_id,
                 survey.longest_document);
    }
    if (survey.document_end) {
      fmt::print("; all {} documents with tokens end in id {}", survey.documents_with_end,
                 *survey.document_end);
    }
    fmt::print("\n");
  }
  problems.raise_if_any();
  return 0;
}

int run_merge(const Words& words) {
  std::vector<std::string> output, prefixes;
  CommandLine command("megalith data merge",
                      "Join indexed datasets of one type, in the order named, into a new one.");
  command.positional("OUT", output, "path of the new dataset, without .bin or .idx", 1, 1);
  command.positional("PREFIX", prefixes, "name the datasets to join, in order", 1, kMaxPrefixes);
  if (!command.parse(words)) return 0;
  merge_indexed_datasets(output.front(), prefixes);
  print_info(IndexedDataset(output.front()));
  return 0;
}

// clang-format off
constexpr TableCommand kCommands[] = {
    {"info",    run_info,         "PREFIX...: counts and types"},
    {"show",    run_show,         "PREFIX --document K: the ids, or the text, of a document"},
    {"verify",  run_verify,       "PREFIX...: check every byte"},
    {"merge",   run_merge,        "OUT PREFIX...: join datasets"},
    {"index",   run_data_index,   "build the sample order of a training run ahead of it"},
    {"samples", run_data_samples, "print samples as training sees them"},
};
// clang-format on

}  // namespace

int run_data(const Words& words) {
  return run_from_table(
      {"data", "command", "Look at, check and join indexed datasets, and build their sample order.",
       kCommands},
      words);
}

}  // namespace megalith::cli

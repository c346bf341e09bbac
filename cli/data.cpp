// megalith data: look at, check and join indexed datasets. `index` and `samples`, which follow the
// flags of pretrain, are in data_index.cpp.
#include <algorithm>
#include <cstdio>

#include "cli/command_line.hpp"
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
  for (const auto& prefix : prefixes) {
    const DatasetSurvey survey = verify_indexed_dataset(prefix, vocab_size);
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
  return 0;
}

int run_merge(const Words& words) {
  std::vector<std::string> prefixes;
  CommandLine command("megalith data merge",
                      "Join indexed datasets of one type, in the order named, into a new one.");
  command.positional("OUT", prefixes,
                     "path of the new dataset, then of those to join, all without .bin or .idx", 1,
                     kMaxPrefixes);
  if (!command.parse(words)) return 0;
  if (prefixes.size() < 2) {
    throw UsageError("merge {}: name the datasets to join after the output", prefixes.front());
  }
  merge_indexed_datasets(prefixes.front(), {prefixes.begin() + 1, prefixes.end()});
  print_info(IndexedDataset(prefixes.front()));
  return 0;
}

struct DataCommand {
  const char* name;
  int (*run)(const Words&);
  const char* summary;
};

// clang-format off
constexpr DataCommand kCommands[] = {
    {"info",    run_info,         "PREFIX...: counts and types"},
    {"show",    run_show,         "PREFIX --document K: the ids, or the text, of a document"},
    {"verify",  run_verify,       "PREFIX...: check every byte"},
    {"merge",   run_merge,        "OUT IN...: join datasets"},
    {"index",   run_data_index,   "build the sample order of a training run ahead of it"},
    {"samples", run_data_samples, "print samples as training sees them"},
};
// clang-format on

void print_help(FILE* out) {
  fmt::print(out,
             "Usage: megalith data COMMAND [flags]\n\n"
             "Look at, check and join indexed datasets, and build their sample order.\n\n");
  for (const auto& command : kCommands) {
    fmt::print(out, "  {:<9}{}\n", command.name, command.summary);
  }
  fmt::print(out, "\nmegalith data COMMAND --help lists the flags of a command.\n");
}

}  // namespace

int run_data(const Words& words) {
  if (words.empty()) {
    print_help(stderr);
    return 2;
  }
  if (words[0] == "--help" || words[0] == "-h") {
    print_help(stdout);
    return 0;
  }
  std::vector<std::string> names;
  for (const auto& command : kCommands) {
    if (words[0] == command.name) return command.run(Words(words.begin() + 1, words.end()));
    names.emplace_back(command.name);
  }
  const std::string near = nearest_name(words[0], names);
  throw UsageError("unknown command 'data {}'{}", words[0],
                   near.empty() ? "; see megalith data --help" : "; did you mean " + near + "?");
}

}  // namespace megalith::cli

// megalith data index and data samples: the sample order of a training run, built ahead of it or
// looked at.
#include "cli/commands.hpp"
#include "cli/order_flags.hpp"

namespace megalith::cli {
namespace {

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

/// Under the names that upstream gives the arrays of a BERT sample.
void print_bert_sample(int64_t index, const Sample& sample) {
  const std::vector<int64_t> mask(sample.loss_mask.begin(), sample.loss_mask.end());
  fmt::print(R"({{"index":{},"text":{},"types":{},"labels":{},"is_random":{},"padding_mask":{},)"
             R"("loss_mask":{},"truncated":{}}})"
             "\n",
             index, numbers(sample.tokens), numbers(sample.types), numbers(sample.labels),
             sample.is_random.value_or(0), numbers(sample.padding_mask), numbers(mask),
             sample.truncated ? 1 : 0);
}

}  // namespace

int run_data_index(const Words& words) {
  OrderFlags flags;
  CommandLine line("megalith data index",
                   "Build the sample order of a training run ahead of it. Takes the flags of "
                   "pretrain, and --dataset. No tokenizer is needed; but the names of the files "
                   "tell the tokenizer, so give the run's own flags for the run to find them.");
  flags.add_to(line);
  line.epilogue(
      "Example:\n"
      "  megalith data index --data-path corpus_text_document --seq-length 1024 \\\n"
      "    --num-samples 100000,1000,0 --split 99,1,0\n"
      "  megalith data index --dataset bert --data-path corpus_text_sentence \\\n"
      "    --seq-length 512 --num-samples 100000,1000,0 --split 99,1,0");
  if (!line.parse(words, false)) return 0;
  const Datasets datasets = build_datasets(flags.config.data, flags.request(line));
  for (const Split split : kSplits) {
    if (datasets.of(split)) {
      fmt::print("{}: {}\n", split_name(split), datasets.of(split)->summary());
    }
  }
  if (flags.config.data.mock_data) return 0;
  const char* const name = flags.kind == DatasetKind::kBert ? kBertClass : kGptClass;
  fmt::print("index files in {}\n", flags.config.data.data_cache_path.value_or(fmt::format(
                                        "PREFIX/cache/{}_indices of each dataset", name)));
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
  DatasetRequest request = flags.request(line);
  const bool is_bert = flags.kind == DatasetKind::kBert;
  if (is_bert && !request.word_pieces) {
    throw UsageError(
        "BERT's samples are made with a vocabulary: give --tokenizer-type BertWordPieceLowerCase "
        "(or BertWordPieceCase) and --vocab-file vocab.txt, or HuggingFaceTokenizer and BERT's "
        "--tokenizer-model tokenizer.json");
  }
  request.role = IndexRole::kLoadOrBuildPrivately;
  for (const Split split : kSplits) request.wanted[static_cast<size_t>(split)] = split == which;
  const Datasets datasets = build_datasets(flags.config.data, request);
  const auto& dataset = datasets.of(which);
  const int64_t held = dataset ? dataset->num_samples() : 0;
  if (first > held || count > held - first) {
    throw UsageError("--first {} --count {}: the {} dataset holds {} samples, counted from 0",
                     first, count, split_name(which), held);
  }
  for (int64_t k = first; k < first + count; ++k) {
    is_bert ? print_bert_sample(k, dataset->sample(k)) : print_sample(k, dataset->sample(k));
  }
  return 0;
}

}  // namespace megalith::cli

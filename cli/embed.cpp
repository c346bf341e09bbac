// megalith embed: what a BERT says of the lines of a file, as safetensors. Flags, lines and the
// output; the model's part is tasks/embedding.
#include <c10/core/ScalarType.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/process_settings.hpp"
#include "cli/progress_line.hpp"
#include "cli/trained_encoder.hpp"
#include "megalith/checkpoint/safetensors.hpp"
#include "megalith/core/atomic_file.hpp"
#include "megalith/core/digest.hpp"
#include "megalith/core/output_path.hpp"
#include "megalith/tasks/embedding.hpp"

namespace megalith::cli {
namespace {

constexpr int64_t kShortestSequence = 3;  // [CLS], a token, [SEP]

struct EmbedFlags {
  TrainedModelFlags model;
  TokenizerConfig tokenizer;
  DistributedConfig distributed;
  std::optional<std::string> input, output;
  std::optional<int64_t> seq_length;
  EmbeddingOptions options;

  FieldList text_fields() {
    return {
        {"input", &input, "A file with one text a line; lines end at LF or CR LF."},
        {"output", &output, "The safetensors file to write; replaces a file."},
        {"pooling", choice(options.pooling, {"none", "cls", "mean"}),
         "What of a line is written: mean over its tokens or cls, the hidden state of [CLS] "
         "without the pooler, as \"embeddings\" [lines, hidden]; none, those of all tokens, as "
         "\"hidden_states\" [lines, longest, hidden] and \"mask\". All in fp32."},
        {"seq-length", &seq_length, "Longer lines are cut to so many tokens.",
         between(kShortestSequence, kLongestSequence), "the model's positions"},
        {"micro-batch-size", &options.micro_batch_size,
         "Lines that go through the model together on each data rank.", at_least(1)},
    };
  }
};

FieldList model_fields(TrainedModelFlags& flags) {
  FieldList fields = flags.fields();
  for (auto& field : fields) {
    if (field.name != "load") continue;
    field.help =
        "The checkpoints' folder, the folder of one checkpoint, or a Hugging Face BERT: its "
        "folder or .safetensors file.";
  }
  return fields;
}

std::string type_name(at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return "bf16";
  return dtype == at::kHalf ? "fp16" : "fp32";
}

std::vector<std::string> read_lines(const std::string& path) {
  const std::string text = read_text_file(path);
  std::vector<std::string> lines;
  for (size_t start = 0; start < text.size();) {
    size_t end = text.find('\n', start);
    if (end == std::string::npos) end = text.size();
    std::string line = text.substr(start, end - start);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(std::move(line));
    start = end + 1;
  }
  if (lines.empty()) throw UsageError("{}: is empty; give a file with one text a line", path);
  return lines;
}

void check_flags(const EmbedFlags& flags, const LaunchEnvironment& environment,
                 Problems& problems) {
  flags.model.check(problems);
  flags.distributed.check(environment, problems);
  if (!flags.input) problems.add_missing("input", "give a file with one text a line");
  if (!flags.output) {
    problems.add_missing("output", "give the safetensors file to write");
  } else if (environment.rank == 0) {
    if (const auto why = why_no_file(*flags.output)) {
      problems.add("--output {} cannot be written: {}", *flags.output, *why);
    }
  }
}

void check_length(const EmbedFlags& flags, const TrainedEncoder& encoder, Problems& problems) {
  const int64_t positions = encoder.config.max_position_embeddings;
  if (flags.seq_length.value_or(positions) <= positions) return;
  problems.add("--seq-length {} is longer than the {} positions of the model of {}",
               *flags.seq_length, positions, encoder.origin);
}

struct Rows {
  std::vector<TokenFeatures> features;
  int64_t num_tokens = 0, num_cut = 0, longest = 0;
};

Rows encode(const std::vector<std::string>& lines, const Tokenizer& tokenizer,
            const SpecialIds& special, int64_t seq_length) {
  Rows rows;
  for (const auto& line : lines) {
    rows.features.push_back(single_features(tokenizer.encode(line), special, seq_length));
    const TokenFeatures& row = rows.features.back();
    const auto length = static_cast<int64_t>(row.ids.size());
    rows.num_tokens += length;
    rows.num_cut += row.num_dropped > 0;
    rows.longest = std::max(rows.longest, length);
  }
  return rows;
}

/// Hidden states of all tokens are held until the last is there.
void check_memory(const EmbedFlags& flags, const Rows& rows, int64_t hidden_size,
                  Problems& problems) {
  if (flags.options.pooling != Pooling::kNone) return;
  const double needed = 4.0 * static_cast<double>(hidden_size) * static_cast<double>(rows.longest) *
                        static_cast<double>(rows.features.size());
  const double memory =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  if (needed < memory) return;
  problems.add(
      "--pooling none: the hidden states of {} lines of up to {} tokens are {:.1f} GB, more than "
      "the {:.1f} GB of this machine; embed parts of --input, or lower --seq-length",
      rows.features.size(), rows.longest, needed / 1e9, memory / 1e9);
}

void write(const Embeddings& embeddings, const EmbedFlags& flags, const TrainedEncoder& encoder) {
  constexpr const char* kPoolings[] = {"none", "cls", "mean"};
  const bool is_pooled = flags.options.pooling != Pooling::kNone;
  std::map<std::string, at::Tensor> tensors{
      {is_pooled ? "embeddings" : "hidden_states", embeddings.values}};
  if (!is_pooled) tensors["mask"] = embeddings.mask;
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, value] : tensors) {
    entries.push_back({name, value.scalar_type(), value.sizes().vec()});
  }
  SafetensorsWriter writer(*flags.output, std::move(entries),
                           {{"format", "pt"},
                            {"made_by", fmt::format("megalith {}", MEGALITH_VERSION)},
                            {"model", encoder.origin},
                            {"pooling", kPoolings[static_cast<size_t>(flags.options.pooling)]}},
                           SafetensorsWriter::Sums::kNone);
  for (const auto& entry : writer.entries()) writer.append(tensors.at(entry.name));
  writer.commit();
}

void report(const EmbedFlags& flags, const TrainedEncoder& encoder, const Rows& rows,
            const Embeddings& embeddings, int64_t seq_length, double seconds) {
  fmt::print("{}\n  {:<10}{} in {}\n", *flags.output, "model", encoder.origin,
             type_name(encoder.dtype));
  fmt::print("  {:<10}{} with {} tokens", "lines", rows.features.size(), rows.num_tokens);
  if (rows.num_cut > 0) fmt::print("; {} were longer and cut to {}", rows.num_cut, seq_length);
  fmt::print("\n  {:<10}{} [{}] in F32\n", embeddings.mask.defined() ? "states" : "vectors",
             embeddings.mask.defined() ? "hidden_states" : "embeddings",
             fmt::join(embeddings.values.sizes(), ", "));
  fmt::print("  {:<10}{:.1f}, {:.0f} lines a second\n", "seconds", seconds,
             static_cast<double>(rows.features.size()) / std::max(seconds, 1e-9));
}

}  // namespace

int run_embed(const Words& words) {
  EmbedFlags flags;
  CommandLine command(
      "megalith embed",
      "Writes what a BERT says of each line of a file: one vector, or the hidden states of its "
      "tokens. --load is a save folder, or the folder or .safetensors file of a Hugging Face "
      "BERT. Runs on any number of ranks; nothing is downloaded.");
  command.section("Model", model_fields(flags.model));
  command.section("Text", flags.text_fields());
  command.section("Tokenizer (default: the model's)", flags.tokenizer.fields());
  command.section("Parallelism", flags.distributed.fields());
  command.foreign(model_shape_flags());
  command.run_file();
  command.epilogue(
      "Examples:\n"
      "  megalith embed --load models/all-MiniLM-L6-v2 --fp32 --input lines.txt \\\n"
      "    --output vectors.safetensors\n"
      "  megalith launch --nproc-per-node 2 embed --load checkpoints/bert --pooling none \\\n"
      "    --input lines.txt --output states.safetensors");
  const LaunchEnvironment environment = read_launch_environment();
  Problems problems;
  if (!command.parse(words, problems, environment.rank == 0)) return 0;
  check_flags(flags, environment, problems);
  std::vector<std::string> lines;
  std::optional<TrainedEncoder> encoder;
  SpecialIds special;
  if (flags.input) problems.collect([&] { lines = read_lines(*flags.input); });
  if (flags.model.load) {
    problems.collect([&] {
      encoder = open_trained_encoder(flags.model, flags.tokenizer,
                                     flags.distributed.tensor_model_parallel_size, problems);
      special = special_ids(*encoder->tokenizer);
    });
  }
  if (encoder) check_length(flags, *encoder, problems);
  problems.raise_if_any();
  const int64_t seq_length = flags.seq_length.value_or(encoder->config.max_position_embeddings);
  const Rows rows = encode(lines, *encoder->tokenizer, special, seq_length);
  check_memory(flags, rows, encoder->config.hidden_size, problems);
  problems.raise_if_any();
  flags.options.pad_id = special.pad;

  use_batch_scheduling();
  keep_freed_memory();
  Distributed distributed(flags.distributed, environment);
  distributed.require_same(
      "what to embed",
      fmt::format("{} {} {} {} {} {}", encoder->identity, c10::toString(encoder->dtype),
                  static_cast<int>(flags.options.pooling), flags.options.micro_batch_size,
                  seq_length, sha256_hex(fmt::format("{}", fmt::join(lines, "\n")))));
  distributed.run([&] {
    const BertModel model = encoder->load(distributed);
    const auto start = std::chrono::steady_clock::now();
    Embeddings embeddings;
    {
      RowProgress progress("embedded", "lines", environment.rank != 0);
      flags.options.on_progress = [&](int64_t done, int64_t all) { progress.tell(done, all); };
      embeddings = embed(model, distributed.groups(), rows.features, flags.options);
    }
    if (environment.rank != 0) return;
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    write(embeddings, flags, *encoder);
    report(flags, *encoder, rows, embeddings, seq_length, seconds);
  });
  return 0;
}

}  // namespace megalith::cli

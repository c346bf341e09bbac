// megalith checkpoint import-hf and export-hf: flags and what is printed; the work is in
// megalith/checkpoint/hugging_face.
#include <algorithm>
#include <array>
#include <filesystem>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/process_settings.hpp"
#include "cli/hugging_face_tokenizer.hpp"
#include "megalith/checkpoint/fixed_loss.hpp"
#include "megalith/checkpoint/hugging_face.hpp"
#include "megalith/checkpoint/manifest.hpp"
#include "megalith/checkpoint/write_model.hpp"
#include "megalith/core/output_path.hpp"
#include "megalith/core/stopwatch.hpp"

namespace megalith::cli {
namespace {

namespace fs = std::filesystem;

void print_loss(const Checkpoint& checkpoint) {
  const FixedLoss fixed = loss_of_fixed_ids(checkpoint);
  const bool is_loss = fixed.kind != FixedLoss::Kind::kHiddenStates;
  fmt::print("  {:<10}{:.6f} in fp32 on the {} ids (i x {}) mod {}{}\n",
             is_loss ? "loss" : "states", fixed.loss, fixed.num_ids, kFixedIdStep,
             checkpoint.meta()["model"]["vocab-size"].get<int64_t>(),
             is_loss ? "" : ": mean absolute value");
}

int64_t num_parameters(const Checkpoint& checkpoint) {
  int64_t count = 0;
  for (const auto& tensor : checkpoint.manifest().tensors) {
    if (tensor.kind == "model") count += tensor.num_elements();
  }
  return count;
}

/// The files that make a tokenizer there, copied as they are.
void copy_tokenizer(const std::string& from, const std::string& to) {
  constexpr std::array kFiles = {"tokenizer.json",
                                 "tokenizer_config.json",
                                 "vocab.json",
                                 "vocab.txt",
                                 "merges.txt",
                                 "tokenizer.model",
                                 "special_tokens_map.json",
                                 "added_tokens.json",
                                 "chat_template.jinja",
                                 "generation_config.json"};
  std::vector<std::string> copied;
  for (const char* name : kFiles) {
    if (!fs::exists(fs::path(from) / name)) continue;
    fs::copy_file(fs::path(from) / name, fs::path(to) / name);
    copied.emplace_back(name);
  }
  fmt::print("  {:<10}{}\n", "tokenizer",
             copied.empty() ? "no file of one in " + from
                            : fmt::format("{} from {}", fmt::join(copied, ", "), from));
}

/// "BertForPreTraining (lm_head, pooler, binary_head)".
std::string heads_text(const HuggingFaceModel& model) {
  const auto heads = model.source.config.head_names();
  if (heads.empty()) return architecture_of(model.config);
  return fmt::format("{} ({})", architecture_of(model.config), fmt::join(heads, ", "));
}

std::optional<HuggingFaceFamily> family_named(const std::optional<std::string>& name,
                                              Problems& problems) {
  if (!name) return std::nullopt;
  std::vector<std::string> known;
  for (const auto& family : hugging_face_families()) {
    if (*name == family.model_type) return family.family;
    known.emplace_back(family.model_type);
  }
  problems.add("--model-type {} is not supported; supported are {}", *name, fmt::join(known, ", "));
  return std::nullopt;
}

}  // namespace

int run_import_hf(const Words& words) {
  std::vector<std::string> paths;
  std::optional<std::string> save;
  HuggingFaceReadOptions read;
  WriteOptions write;
  bool no_loss = false;
  CommandLine command(
      "megalith checkpoint import-hf",
      "Makes a checkpoint of a Hugging Face model: GPT-2, Llama, Mistral, Qwen2, Qwen3 or BERT, "
      "from "
      "safetensors. Bits and types stay; what was written is compared with the source. Nothing is "
      "downloaded.");
  command.positional("PATH", paths, "the model's folder, its safetensors file, or its index", 1, 1);
  command.section(
      "Import",
      {{"save", &save, "The folder to save to; the checkpoint becomes its iteration 0."},
       {"num-files", &write.num_files, "How many files the weights are dealt to.", at_least(1)},
       {"max-position-embeddings", &read.max_position_embeddings,
        "Use the model for shorter texts than it was made for: no longer than its sliding window.",
        at_least(1), "config.json's"},
       {"ignore-config-key", &read.ignored_keys,
        "Fields of config.json that are not known here and that do not change the model."},
       {"no-loss", &no_loss, "Do not compute the loss, which takes four bytes a parameter."}});
  Problems problems;
  if (!command.parse(words, problems)) return 0;
  if (!save) {
    problems.add_missing("save", "give the folder for the checkpoint");
  } else if (const auto why = why_no_folder(*save)) {
    problems.add("--save {} cannot be written: {}", *save, *why);
  }
  HuggingFaceModel model;
  if (!paths.empty()) {
    problems.collect([&] { model = open_hugging_face(paths.front(), read); });
  }
  problems.raise_if_any();
  keep_freed_memory();
  const auto tokenizer = tokenizer_beside(model.files->folder(), model.config.family);
  if (tokenizer.is_object()) model.source.meta["tokenizer"] = tokenizer;
  for (const auto& notice : model.notices) fmt::print("notice: {}\n", notice);
  Stopwatch watch;
  const auto checkpoint = Checkpoint::open(write_model(model.source, *save, write));
  ConversionTimes times{.written_s = watch.lap()};
  fmt::print("{}\n  {:<10}{} with {} parameters\n", checkpoint.folder(), "model", heads_text(model),
             num_parameters(checkpoint));
  try {
    check_gives_back(checkpoint, model);
  } catch (const RunError&) {
    remove_checkpoint(*save, checkpoint.iteration());
    throw;
  }
  times.verified_s = watch.lap();
  fmt::print("  {:<10}{} tensors, each given back bit for bit\n  {:<10}{}\n", "weights",
             model.tensors.size(), "time", times.text());
  fmt::print("  {:<10}{}\n", "tokenizer",
             tokenizer.is_object() ? tokenizer["tokenizer-type"].get<std::string>()
                                   : "none found; give its flags where the model is used");
  if (!no_loss) print_loss(checkpoint);
  return 0;
}

int run_export_hf(const Words& words) {
  std::optional<std::string> load, save, model_type, tokenizer;
  std::optional<int64_t> step;
  HuggingFaceWriteOptions options;
  double shard_gb = 5;
  bool no_loss = false;
  CommandLine command("megalith checkpoint export-hf",
                      "Writes the model of a checkpoint as a Hugging Face folder that "
                      "from_pretrained of transformers' class reads: config.json and safetensors. "
                      "Types stay; what was written is compared with the checkpoint.");
  command.section(
      "Export",
      {{"load", &load, "A save folder, or one iter_... folder in it."},
       {"ckpt-step", &step, "The iteration to load.", at_least(0), "the latest"},
       {"save", &save, "The folder to write, which must not be there."},
       {"model-type", &model_type, "gpt2, llama, mistral, qwen2, qwen3 or bert.", std::nullopt,
        "what was imported, else what the model fits"},
       {"architecture", &options.architecture,
        "Of BERT's classes the one to write, e.g. BertModel; heads that it has not are left out.",
        std::nullopt, "the class that has the model's heads"},
       {"max-shard-size", &shard_gb, "Weights above so many GB go to several files.", above(0)},
       {"tokenizer", &tokenizer, "A folder whose tokenizer files are copied beside the weights."},
       {"no-loss", &no_loss, "Do not compute the loss, which takes four bytes a parameter."}});
  Problems problems;
  if (!command.parse(words, problems)) return 0;
  if (!load) problems.add_missing("load", "give the folder that megalith pretrain --save wrote");
  if (!save) problems.add_missing("save", "give the folder to write");
  if (tokenizer && !fs::is_directory(*tokenizer)) {
    problems.add("--tokenizer {} is no folder", *tokenizer);
  }
  options.family = family_named(model_type, problems);
  options.max_shard_bytes = static_cast<int64_t>(shard_gb * 1e9);
  problems.raise_if_any();
  keep_freed_memory();
  const auto checkpoint = Checkpoint::open(*load, step);
  const auto written = write_hugging_face(checkpoint, *save, options);
  fmt::print("{}\n  {:<10}{} with {} parameters\n  {:<10}compared with {} bit for bit\n", *save,
             "model", written.architecture, written.num_parameters, "weights", checkpoint.folder());
  fmt::print("  {:<10}{}\n", "time", written.times.text());
  if (tokenizer) copy_tokenizer(*tokenizer, *save);
  if (!no_loss) print_loss(checkpoint);
  return 0;
}

}  // namespace megalith::cli

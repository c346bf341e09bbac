#include "megalith/training/resume_settings.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "megalith/checkpoint/model_io.hpp"

namespace megalith {
namespace {

using Json = nlohmann::json;

// Flags that say where things lie, when to stop and what to print: they change no result. The
// number of threads is compared as resolved, not as a flag.
constexpr std::array kNotCompared = {
    "save",
    "save-interval",
    "save-retain-interval",
    "keep-last",
    "on-save-failure",
    "load",
    "load-if-exists",
    "ckpt-step",
    "pretrained-checkpoint",
    "seeds",
    "test-data",
    "finetune",
    "use-checkpoint-args",
    "no-load-optim",
    "no-save-optim",
    "exit-interval",
    "exit-duration-in-mins",
    "skip-train",
    "recompute-granularity",
    "recompute-activations",
    "recompute-method",
    "recompute-num-layers",
    "log-interval",
    "log-throughput",
    "log-params-norm",
    "metrics-file",
    "no-check-for-nan-in-loss-and-grad",
    "num-threads",
    "distributed-timeout-minutes",
    "data-cache-path",
};

/// With what the flags leave to be derived filled in, so that equal models compare equal.
Json resolved_shape(ModelConfig model) {
  const int64_t groups = model.num_query_groups();
  model.ffn_hidden_size_flag = model.ffn_hidden_size();
  model.kv_channels_flag = model.head_size();
  model.group_query_attention = true;
  model.num_query_groups_flag = groups;
  if (model.position_embedding != PositionEmbedding::kRope) {
    model.rotary_base = ModelConfig{}.rotary_base;
    model.rotary_percent = ModelConfig{}.rotary_percent;
  }
  // Only learned positions are weights.
  if (model.position_embedding != PositionEmbedding::kLearnedAbsolute) {
    model.max_position_embeddings = 0;
  }
  return fields_to_json(model.shape_fields());
}

std::string value_text(const Json& value) {
  if (value.is_null()) return "not given";
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::vector<std::string> words;
  for (const auto& word : value) words.push_back(value_text(word));
  return words.empty() ? "none" : fmt::format("{}", fmt::join(words, " "));
}

/// A new run from a checkpoint's weights may have other heads: model_io.hpp, load_body.
enum class Heads { kMustAgree, kMayDiffer };

bool is_of_heads(const std::string& field) {
  static const std::set<std::string> kFields{"lm-head-transform", "pooler",           "binary-head",
                                             "num-classes",       "multichoice-head", "qa-head"};
  return kFields.contains(field);
}

std::vector<std::string> shape_mistakes(const ModelConfig& wanted, const ModelConfig& stored,
                                        bool with_vocabulary, Heads heads) {
  if (wanted.bidirectional != stored.bidirectional) {
    return {fmt::format("it holds a model of megalith pretrain {}, and this is pretrain {}",
                        stored.family(), wanted.family())};
  }
  std::vector<std::string> mistakes;
  if (heads == Heads::kMustAgree && wanted.binary_head != stored.binary_head) {
    mistakes.push_back(fmt::format(
        "--bert-no-binary-head: the checkpoint's model has {} sentence order head, and this run's "
        "{}",
        stored.binary_head ? "a" : "no", wanted.binary_head ? "has one" : "has none"));
  }
  const Json of_flags = resolved_shape(wanted), of_checkpoint = resolved_shape(stored);
  for (const auto& [flag, value] : of_flags.items()) {
    const Json& saved = of_checkpoint.at(flag);
    const bool is_told = flag == "binary-head" || (flag == "vocab-size" && !with_vocabulary);
    const bool may_differ = heads == Heads::kMayDiffer && is_of_heads(flag);
    if (saved == value || is_told || may_differ) continue;
    if (flag == "num-tokentypes") {
      mistakes.push_back(
          fmt::format("the checkpoint's model has {} token types, this run's {}; give "
                      "--use-checkpoint-args",
                      value_text(saved), value_text(value)));
      continue;
    }
    mistakes.push_back(fmt::format(
        "{}{}: the checkpoint says {}, the flags say {}", flag == "vocab-size" ? "" : "--",
        flag == "vocab-size" ? "size of the tokenizer's vocabulary" : flag, value_text(saved),
        value_text(value)));
  }
  return mistakes;
}

/// {flag: value} of all sections of a stored or present configuration.
std::map<std::string, Json> flat_flags(const Json& configuration) {
  std::map<std::string, Json> flags;
  for (const auto& [section, fields] : configuration.items()) {
    for (const auto& [flag, value] : fields.items()) flags[section + "/" + flag] = value;
  }
  return flags;
}

/// A global batch size that was not given follows from the layout.
void resolve_batch(Json& configuration, int64_t data_size) {
  Json& batch = configuration.at("Batch size");
  Json& global = batch.at("global-batch-size");
  const Json& micro = batch.at("micro-batch-size");
  if (global.is_null() && micro.is_number()) global = micro.get<int64_t>() * data_size;
}

std::string used_text(const std::string& flag, const Json& stored_training, bool dynamic) {
  if (flag == "init-method-std") return "checkpoint (weights are loaded)";
  if (flag == "initial-loss-scale" && dynamic) {
    return fmt::format("checkpoint (its scale {} goes on)",
                       value_text(stored_training.at("loss_scale")));
  }
  return "flags";
}

std::vector<SettingConflict> compare_flags(RunConfig& config, const Layout& layout,
                                           const Json& meta) {
  Json stored = meta.at("configuration"), mine = config.to_json();
  resolve_batch(stored, meta.at("layout").at("data").get<int64_t>());
  resolve_batch(mine, layout.data);
  std::set<std::string> not_compared(kNotCompared.begin(), kNotCompared.end());
  const bool learned = config.model.position_embedding == PositionEmbedding::kLearnedAbsolute;
  for (const auto& field : config.model.shape_fields()) {
    const bool is_shape = field.name != "max-position-embeddings" || learned;
    if (is_shape) not_compared.insert(field.name);
  }
  const bool dynamic = config.training.fp16 && !config.loss_scale.loss_scale &&
                       stored.at("Training").at("fp16") == true &&
                       stored.at("Loss scale (fp16)").at("loss-scale").is_null();
  std::vector<SettingConflict> conflicts;
  const auto flags = flat_flags(mine);
  for (const auto& [key, value] : flat_flags(stored)) {
    const auto now = flags.find(key);
    const std::string flag = key.substr(key.find('/') + 1);
    if (now == flags.end() || now->second == value || not_compared.contains(flag)) continue;
    conflicts.push_back({"--" + flag, value_text(value), value_text(now->second),
                         used_text(flag, meta.at("training"), dynamic)});
  }
  return conflicts;
}

/// A setting that was not given, by the checkpoint.
void take(const Field& field, const Json& stored, const std::string& source) {
  fields_from_json({field}, Json{{field.name, stored}}, source);
}

using GivenFlags = std::function<bool(const std::string&)>;

/// The shape of the body, where the flags do not say it.
void take_shape(RunConfig& config, const Checkpoint& checkpoint, const GivenFlags& given) {
  const FieldList family = config.model.family_fields();
  const auto is_family = [&](const std::string& name) {
    return std::any_of(family.begin(), family.end(),
                       [&](const Field& field) { return field.name == name; });
  };
  for (const auto& field : config.model.shape_fields()) {
    // The size of the vocabulary is the tokenizer's word, and has a flag of that name; the family
    // is the command's.
    const bool is_others = field.name == "vocab-size" || is_family(field.name);
    if (is_others || given(field.name)) continue;
    // An older checkpoint says nothing about what was built later.
    const auto& shape = checkpoint.meta().at("model");
    if (shape.contains(field.name)) take(field, shape.at(field.name), checkpoint.folder());
  }
}

void take_tokenizer(RunConfig& config, const Checkpoint& checkpoint, const GivenFlags& given) {
  const auto& meta = checkpoint.meta();
  if (given("tokenizer-type") || !meta.contains("tokenizer")) return;
  for (const auto& field : config.tokenizer.fields()) {
    if (!given(field.name) && meta.at("tokenizer").contains(field.name)) {
      take(field, meta.at("tokenizer").at(field.name), checkpoint.folder());
    }
  }
}

/// "bidirectional-attention is false, and true is wanted; ..."
std::string family_differences(ModelConfig wanted, ModelConfig stored) {
  const Json of_run = fields_to_json(wanted.family_fields());
  const Json of_checkpoint = fields_to_json(stored.family_fields());
  std::vector<std::string> texts;
  for (const auto& [name, value] : of_run.items()) {
    if (is_of_heads(name) || of_checkpoint.at(name) == value) continue;
    texts.push_back(fmt::format("{} is {}, wanted {}", name, value_text(of_checkpoint.at(name)),
                                value_text(value)));
  }
  return fmt::format("{}", fmt::join(texts, "; "));
}

}  // namespace

void take_body_args(RunConfig& config, const Checkpoint& checkpoint,
                    const std::function<bool(const std::string&)>& given, Problems& problems) {
  const ModelConfig stored = model_config_from(checkpoint);
  if (!stored.bidirectional) {
    problems.add("{}: holds a {} model, and fine-tuning takes a BERT: {}", checkpoint.folder(),
                 stored.family(), family_differences(config.model, stored));
    return;
  }
  config.model.num_token_types = stored.num_token_types;
  if (stored.num_token_types < 2) {
    problems.add("{}: its model has {} token types, and pairs of texts need two",
                 checkpoint.folder(), stored.num_token_types);
  }
  take_shape(config, checkpoint, given);
  take_tokenizer(config, checkpoint, given);
  for (const auto& mistake :
       shape_mistakes(config.model, stored, /*with_vocabulary=*/false, Heads::kMayDiffer)) {
    problems.add("{}: {}; leave it out, the checkpoint says what the model is", checkpoint.folder(),
                 mistake);
  }
}

std::optional<Checkpoint> find_training_checkpoint(const CheckpointConfig& config) {
  if (!config.load) return std::nullopt;
  if (config.load_if_exists && !config.ckpt_step && has_no_checkpoint(*config.load)) {
    return std::nullopt;
  }
  const auto checkpoint = Checkpoint::open(*config.load, config.ckpt_step);
  // A run's checkpoint has all parts; a converted one has the model, and "training" when its source
  // said how far it was trained.
  const bool is_run = checkpoint.meta().contains("configuration");
  for (const char* part : {"model", "tokenizer", "layout", "training"}) {
    const bool is_wanted = is_run || part == std::string("model");
    if (is_wanted && !checkpoint.meta().contains(part)) {
      throw UsageError(
          "{}: does not say its '{}', so no training run saved it; give a folder that "
          "megalith pretrain or checkpoint convert wrote",
          checkpoint.folder(), part);
    }
  }
  if (!config.finetune && !checkpoint.meta().contains("training")) {
    throw UsageError(
        "{}: holds weights and does not say how far a run had got with them; start a new run from "
        "them by --finetune",
        checkpoint.folder());
  }
  return checkpoint;
}

void take_checkpoint_args(RunConfig& config, const std::function<bool(const std::string&)>& given,
                          Problems& problems) {
  if (!config.checkpoint.use_checkpoint_args) return;
  if (!config.checkpoint.load) {
    problems.add("--use-checkpoint-args without --load; say where to load from");
    return;
  }
  std::optional<Checkpoint> checkpoint;
  try {
    checkpoint = find_training_checkpoint(config.checkpoint);
  } catch (const UsageError& error) {
    problems.add("--load {}", error.what());
  }
  if (!checkpoint) return;  // a run that starts anew goes by its flags
  const auto& meta = checkpoint->meta();
  const ModelConfig stored = model_config_from(*checkpoint);
  take_shape(config, *checkpoint, given);
  for (const auto& field : config.training.fields()) {
    if (field.name != "seq-length" || given(field.name)) continue;
    if (!meta.contains("configuration")) continue;  // converted: no run, no sequence length
    take(field, meta.at("configuration").at("Training").at(field.name), checkpoint->folder());
  }
  take_tokenizer(config, *checkpoint, given);
  if (config.is_bert() && stored.bidirectional && !given("bert-no-binary-head")) {
    config.bert.no_binary_head = !stored.binary_head;
    config.choose_model(stored.family());
  }
  if (config.is_bert() && stored.bidirectional) {
    config.model.num_token_types = stored.num_token_types;
    if (config.model.binary_head && stored.num_token_types < 2) {
      problems.add(
          "--load {}: its model has {} token types, and pairs of sentences need two; train "
          "it by --bert-no-binary-head",
          checkpoint->folder(), stored.num_token_types);
    }
  }
  const Heads heads = config.checkpoint.finetune ? Heads::kMayDiffer : Heads::kMustAgree;
  for (const auto& mistake :
       shape_mistakes(config.model, stored, /*with_vocabulary=*/false, heads)) {
    if (config.is_bert() != stored.bidirectional) {
      problems.add("--load {}: {}", checkpoint->folder(), mistake);
      continue;
    }
    problems.add("{}; leave it out with --use-checkpoint-args", mistake);
  }
}

SettingsReview review_settings(RunConfig& config, const Layout& layout, int64_t num_threads,
                               const Checkpoint& checkpoint) {
  SettingsReview review;
  const auto& meta = checkpoint.meta();
  review.mistakes =
      shape_mistakes(config.model, model_config_from(checkpoint), true,
                     config.checkpoint.finetune ? Heads::kMayDiffer : Heads::kMustAgree);
  const bool resumes = !config.checkpoint.finetune && !config.checkpoint.no_load_optim;
  if (resumes && checkpoint.names("optimizer").empty()) {
    review.mistakes.push_back(
        "it holds no optimizer state (saved with --no-save-optim, or converted); go on with new "
        "moments by --no-load-optim, or start a new run from its weights by --finetune");
  } else if (resumes) {
    const Json& kind = meta.at("configuration").at("Optimizer").at("optimizer");
    const Json mine = fields_to_json(config.optimizer.fields()).at("optimizer");
    if (kind != mine) {
      review.mistakes.push_back(fmt::format(
          "--optimizer: the checkpoint says {}, the flags say {}; the state of one serves no "
          "other: go on with new moments by --no-load-optim",
          value_text(kind), value_text(mine)));
    }
  }
  if (config.checkpoint.finetune) return review;       // a new run, with settings of its own
  if (!meta.contains("configuration")) return review;  // converted: there are none to compare

  review.conflicts = compare_flags(config, layout, meta);
  const Json& saved = meta.at("layout");
  const auto differs = [&](const char* what, const char* key, int64_t mine) {
    const auto stored = saved.value(key, mine);
    if (stored == mine) return false;
    review.conflicts.push_back({what, fmt::format("{}", stored), fmt::format("{}", mine), "flags"});
    return true;
  };
  const bool data_differs = differs("data ranks", "data", layout.data);
  differs("threads of a rank", "threads", num_threads);
  const bool micro_differs = meta.at("configuration").at("Batch size").at("micro-batch-size") !=
                             fields_to_json(config.batch.fields()).at("micro-batch-size");
  const bool dropout = config.model.hidden_dropout > 0 || config.model.attention_dropout > 0;
  review.masks_change =
      dropout && (data_differs || micro_differs || saved.at("tensor") != layout.tensor);
  return review;
}

void raise_mistakes(const SettingsReview& review, const Checkpoint& checkpoint) {
  if (review.mistakes.empty()) return;
  std::string text;
  for (const auto& mistake : review.mistakes) text += "\n  - " + mistake;
  throw UsageError("{}: does not fit this run, nothing was loaded:{}", checkpoint.folder(), text);
}

std::string conflicts_text(const SettingsReview& review, const Checkpoint& checkpoint) {
  if (review.conflicts.empty()) return "";
  constexpr size_t kWidest = 40;  // paths are longer than a column should be
  const auto column = [&](std::string SettingConflict::*member, const std::string& title) {
    size_t width = title.size();
    for (const auto& conflict : review.conflicts) {
      width = std::max(width, std::min(kWidest, (conflict.*member).size()));
    }
    return width;
  };
  const size_t name = column(&SettingConflict::name, "setting");
  const size_t stored = column(&SettingConflict::checkpoint, "checkpoint says");
  const size_t flags = column(&SettingConflict::flags, "flags say");
  std::string text = fmt::format(
      "notice: settings that differ from {}:\n  {:<{}}  {:<{}}  {:<{}}  used\n",
      checkpoint.folder(), "setting", name, "checkpoint says", stored, "flags say", flags);
  for (const auto& conflict : review.conflicts) {
    text += fmt::format("  {:<{}}  {:<{}}  {:<{}}  {}\n", conflict.name, name, conflict.checkpoint,
                        stored, conflict.flags, flags, conflict.used);
  }
  if (review.masks_change) {
    text += "  dropout continues on other masks: its streams go by rank and micro-batch\n";
  }
  return text;
}

}  // namespace megalith

#include "megalith/checkpoint/hugging_face_bert.hpp"

#include <algorithm>
#include <utility>

namespace megalith {
namespace {

using Json = nlohmann::json;
using Shape = std::vector<int64_t>;

constexpr int64_t kUsualLabels = 2;

/// The heads of a class beside the encoder.
struct Architecture {
  const char* name;
  bool language_model = false, order = false, classes = false, choices = false, spans = false;
  bool pooler = false;  // always; BertModel may have one
};
constexpr Architecture kArchitectures[] = {
    {.name = "BertForPreTraining", .language_model = true, .order = true, .pooler = true},
    {.name = "BertForMaskedLM", .language_model = true},
    {.name = "BertForNextSentencePrediction", .order = true, .pooler = true},
    {.name = "BertForSequenceClassification", .classes = true, .pooler = true},
    {.name = "BertForMultipleChoice", .choices = true, .pooler = true},
    {.name = "BertForQuestionAnswering", .spans = true},
    {.name = "BertModel"}};

const Architecture& architecture_named(const std::string& name) {
  const auto* const found = std::find_if(std::begin(kArchitectures), std::end(kArchitectures),
                                         [&](const Architecture& a) { return name == a.name; });
  return found == std::end(kArchitectures) ? *(found - 1) : *found;
}

/// A pooler is named by itself only where no head brings it.
void set_pooler(ModelConfig& model, bool has) {
  model.pooler = false;
  model.pooler = has && !model.has_pooler();
}

/// By the names of the labels, or their number, as transformers counts them.
int64_t num_labels(JsonFields& fields) {
  const Json names = fields.object("id2label");
  const int64_t otherwise = names.is_null() ? kUsualLabels : static_cast<int64_t>(names.size());
  return fields.integer("num_labels", otherwise);
}

void set_heads(ModelConfig& model, const Architecture& architecture, int64_t labels) {
  model.lm_head_transform = architecture.language_model;
  model.binary_head = architecture.order;
  model.num_classes = architecture.classes ? labels : 0;
  model.multichoice_head = architecture.choices;
  model.qa_head = architecture.spans;
  set_pooler(model, architecture.pooler);
}

void read_activation(JsonFields& fields, ModelConfig& model) {
  const std::string activation = fields.text("hidden_act", "gelu");
  model.openai_gelu = kTanhGelu.contains(activation);
  if (model.openai_gelu || kErfGelu.contains(activation)) return;
  fields.refuse("hidden_act",
                fmt::format("'{}' is not supported; supported are {} and {}", activation,
                            fmt::join(kErfGelu, ", "), fmt::join(kTanhGelu, ", ")));
}

void read_variants(JsonFields& fields) {
  const std::string positions = fields.text("position_embedding_type", "absolute");
  if (positions != "absolute") {
    fields.refuse("position_embedding_type",
                  fmt::format("'{}' is not supported; supported is absolute", positions));
  }
  for (const char* const key : {"is_decoder", "add_cross_attention"}) {
    if (fields.boolean(key, false)) fields.refuse(key, "only encoders are read");
  }
  const std::string directions = fields.text("directionality", "bidi");
  if (directions != "bidi") {
    fields.refuse("directionality", "attention here sees both directions");
  }
  // Google's first releases describe the pooler by fields that no class ever read.
  for (const char* const key : {"pooler_fc_size", "pooler_num_attention_heads",
                                "pooler_num_fc_layers", "pooler_size_per_head"}) {
    fields.optional_integer(key);
  }
  fields.text("pooler_type", "");
}

/// Collects the table; names of both sides without ".weight" and ".bias".
class Table {
 public:
  void add(const std::string& theirs, const std::string& ours, Shape shape) {
    tensors_.push_back({theirs, false, {{ours, std::move(shape)}}});
  }
  void add_linear(const std::string& theirs, const std::string& ours, int64_t outputs,
                  int64_t inputs) {
    add(theirs + ".weight", ours + ".weight", {outputs, inputs});
    add(theirs + ".bias", ours + ".bias", {outputs});
  }
  void add_norm(const std::string& theirs, const std::string& ours, int64_t size) {
    add(theirs + ".weight", ours + ".weight", {size});
    add(theirs + ".bias", ours + ".bias", {size});
  }
  std::vector<HuggingFaceTensor> take() { return std::move(tensors_); }

 private:
  std::vector<HuggingFaceTensor> tensors_;
};

/// Theirs has a norm behind each part; ours has the same one before the next.
void add_layer(Table& table, const ModelConfig& config, int64_t layer) {
  const int64_t hidden = config.hidden_size, wide = config.ffn_hidden_size();
  const auto theirs = fmt::format("bert.encoder.layer.{}.", layer);
  const auto ours = fmt::format("encoder.layers.{}.", layer);
  for (const char* const part : {"query", "key", "value"}) {
    table.add_linear(theirs + "attention.self." + part, ours + "self_attention." + part, hidden,
                     hidden);
  }
  table.add_linear(theirs + "attention.output.dense", ours + "self_attention.linear_proj", hidden,
                   hidden);
  table.add_norm(theirs + "attention.output.LayerNorm", ours + "pre_mlp_layernorm", hidden);
  table.add_linear(theirs + "intermediate.dense", ours + "mlp.linear_fc1", wide, hidden);
  table.add_linear(theirs + "output.dense", ours + "mlp.linear_fc2", hidden, wide);
  const bool is_last = layer + 1 == config.num_layers;
  table.add_norm(theirs + "output.LayerNorm",
                 is_last ? "encoder.final_layernorm"
                         : fmt::format("encoder.layers.{}.input_layernorm", layer + 1),
                 hidden);
}

void add_heads(Table& table, const ModelConfig& config) {
  const int64_t hidden = config.hidden_size;
  if (config.has_pooler()) table.add_linear("bert.pooler.dense", "pooler.dense", hidden, hidden);
  if (config.lm_head_transform) {
    const std::string theirs = "cls.predictions.";
    table.add(theirs + "bias", "lm_head.bias", {config.vocab_size});
    table.add_linear(theirs + "transform.dense", "lm_head.dense", hidden, hidden);
    table.add_norm(theirs + "transform.LayerNorm", "lm_head.layernorm", hidden);
  }
  if (config.binary_head) table.add_linear("cls.seq_relationship", "binary_head", 2, hidden);
  if (config.num_classes > 0) {
    table.add_linear("classifier", "classification_head", config.num_classes, hidden);
  }
  if (config.multichoice_head) table.add_linear("classifier", "multichoice_head", 1, hidden);
  if (config.qa_head) table.add_linear("qa_outputs", "qa_head", 2, hidden);
}

}  // namespace

const std::vector<std::string>& bert_architectures() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const auto& architecture : kArchitectures) list.emplace_back(architecture.name);
    return list;
  }();
  return names;
}

void read_bert_fields(JsonFields& fields, HuggingFaceConfig& config) {
  ModelConfig& model = config.model;
  model.become_bert(/*with_binary_head=*/false);
  model.residual_post_layernorm = true;
  model.num_layers = fields.required_integer("num_hidden_layers");
  model.hidden_size = fields.required_integer("hidden_size");
  model.num_attention_heads = fields.required_integer("num_attention_heads");
  model.ffn_hidden_size_flag = fields.required_integer("intermediate_size");
  model.max_position_embeddings = fields.required_integer("max_position_embeddings");
  model.num_token_types = fields.integer("type_vocab_size", 2);
  model.norm_epsilon = fields.number("layer_norm_eps", 1e-12);
  read_activation(fields, model);
  read_variants(fields);
  if (!fields.boolean("tie_word_embeddings", true)) {
    fields.refuse("tie_word_embeddings", "BERT's logits are tied to the embedding here");
  }
  const Json architectures = fields.list("architectures");
  const bool is_named = architectures.is_array() && !architectures.empty();
  set_heads(model,
            architecture_named(is_named ? architectures.front().get<std::string>() : "BertModel"),
            num_labels(fields));
}

void add_bert_heads(HuggingFaceConfig& config, const std::function<bool(const std::string&)>& has) {
  ModelConfig& model = config.model;
  std::vector<std::string> added;
  const auto add = [&](bool& head, const char* tensor, const char* name) {
    if (head || !has(tensor)) return;
    head = true;
    added.emplace_back(name);
  };
  const bool had_pooler = model.has_pooler();
  add(model.lm_head_transform, "cls.predictions.transform.dense.weight", "language-model head");
  add(model.binary_head, "cls.seq_relationship.weight", "sentence order head");
  add(model.qa_head, "qa_outputs.weight", "question-answering head");
  set_pooler(model, had_pooler || has("bert.pooler.dense.weight"));
  if (added.empty()) return;
  config.notices.push_back(
      fmt::format("beside what its config.json names, the folder has a {}, which is taken along",
                  fmt::join(added, " and a ")));
}

std::vector<HuggingFaceTensor> bert_tensors(const ModelConfig& config) {
  const int64_t hidden = config.hidden_size;
  const std::string embeddings = "bert.embeddings.";
  Table table;
  table.add(embeddings + "word_embeddings.weight", "embedding.word_embeddings.weight",
            {config.vocab_size, hidden});
  table.add(embeddings + "position_embeddings.weight", "embedding.position_embeddings.weight",
            {config.max_position_embeddings, hidden});
  table.add(embeddings + "token_type_embeddings.weight", "embedding.tokentype_embeddings.weight",
            {config.num_token_types, hidden});
  table.add_norm(embeddings + "LayerNorm", "encoder.layers.0.input_layernorm", hidden);
  for (int64_t layer = 0; layer < config.num_layers; ++layer) add_layer(table, config, layer);
  add_heads(table, config);
  return table.take();
}

std::string other_bert_name(const std::string& name) {
  const auto replaced = [&](const std::string& end, const char* with) {
    return name.substr(0, name.size() - end.size()) + with;
  };
  if (name.ends_with("LayerNorm.weight")) return replaced("weight", "gamma");
  if (name.ends_with("LayerNorm.bias")) return replaced("bias", "beta");
  if (name == "cls.predictions.bias") return "cls.predictions.decoder.bias";
  return "";
}

std::string original_of_bert_copy(const std::string& name) {
  if (name == "cls.predictions.decoder.weight") return "bert.embeddings.word_embeddings.weight";
  if (name == "cls.predictions.decoder.bias") return "cls.predictions.bias";
  return "";
}

std::vector<std::string> bert_misfits(const ModelConfig& config) {
  std::vector<std::string> misfits;
  const auto require = [&](bool holds, const char* otherwise) {
    if (!holds) misfits.emplace_back(otherwise);
  };
  require(config.bidirectional, "it is no BERT");
  require(config.residual_post_layernorm,
          "--apply-residual-connection-post-layernorm must be on: transformers' BERT has a norm "
          "behind attention and MLP, on the residual path. This model has its norms before them, "
          "for which transformers has no BERT class; under its names the same tensors would "
          "compute something else");
  require(config.position_embedding == PositionEmbedding::kLearnedAbsolute,
          "--position-embedding-type must be learned_absolute");
  require(config.normalization == Normalization::kLayerNorm, "--normalization must be LayerNorm");
  require(!config.swiglu, "--swiglu must be off");
  require(!config.squared_relu, "--squared-relu must be off");
  require(!config.disable_bias_linear, "--disable-bias-linear must be off");
  require(!config.qk_layernorm, "--qk-layernorm must be off");
  require(config.num_query_groups() == config.num_attention_heads,
          "every head must have keys of its own (--num-query-groups)");
  require(config.head_size() * config.num_attention_heads == config.hidden_size,
          "--kv-channels must be hidden-size / heads");
  require(config.num_token_types > 0, "it must have token types");
  require(config.num_classes == 0 || !config.multichoice_head,
          "classification_head and multichoice_head have one name there");
  return misfits;
}

std::string bert_architecture_of(const ModelConfig& config) {
  if (config.num_classes > 0) return "BertForSequenceClassification";
  if (config.multichoice_head) return "BertForMultipleChoice";
  if (config.qa_head) return "BertForQuestionAnswering";
  if (config.lm_head_transform) {
    return config.binary_head ? "BertForPreTraining" : "BertForMaskedLM";
  }
  return config.binary_head ? "BertForNextSentencePrediction" : "BertModel";
}

ModelConfig as_bert_architecture(const ModelConfig& config, const std::string& architecture,
                                 const std::string& origin, Problems& problems) {
  ModelConfig reduced = config;
  const Architecture& wanted = architecture_named(architecture);
  set_heads(reduced, wanted, std::max<int64_t>(config.num_classes, 1));
  const bool may_have_pooler = architecture == "BertModel";
  if (may_have_pooler) set_pooler(reduced, config.has_pooler());
  const auto has = config.head_names();
  std::vector<std::string> missing;
  for (const auto& head : reduced.head_names()) {
    if (std::find(has.begin(), has.end(), head) == has.end()) missing.push_back(head);
  }
  if (!missing.empty()) {
    problems.add(
        "--architecture {}: {} has no {}; leave the flag out, and let transformers start what a "
        "class lacks",
        architecture, origin, fmt::join(missing, ", "));
  }
  return reduced;
}

Json bert_fields(const ModelConfig& config, const Json& original) {
  Json json{{"num_hidden_layers", config.num_layers},
            {"hidden_size", config.hidden_size},
            {"num_attention_heads", config.num_attention_heads},
            {"intermediate_size", config.ffn_hidden_size()},
            {"max_position_embeddings", config.max_position_embeddings},
            {"type_vocab_size", config.num_token_types},
            {"layer_norm_eps", config.norm_epsilon},
            {"hidden_act", config.openai_gelu ? "gelu_new" : "gelu"},
            {"position_embedding_type", "absolute"},
            {"architectures", {bert_architecture_of(config)}}};
  const int64_t labels = config.qa_head ? 2 : config.num_classes;
  const auto names = original.find("id2label");
  const bool is_said = names != original.end() && std::cmp_equal(names->size(), labels);
  for (int64_t i = 0; i < labels && !is_said; ++i) {
    const auto name = fmt::format("LABEL_{}", i);
    json["id2label"][fmt::format("{}", i)] = name;
    json["label2id"][name] = i;
  }
  return json;
}

}  // namespace megalith

// BERTs of every class that transformers made: imported, they give its hidden states, pooled
// output, every head's logits and gradients on one and two tensor ranks; exported, they are the
// source again. Names of older folders, and what is wrong with a folder.
//
// tests/golden/hugging_face_bert: tests/oracles/hugging_face_bert.py.
#include "megalith/checkpoint/hugging_face_bert.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "megalith/checkpoint/hugging_face.hpp"
#include "megalith/checkpoint/manifest.hpp"
#include "megalith/checkpoint/model_io.hpp"
#include "megalith/checkpoint/write_model.hpp"
#include "megalith/models/bert.hpp"
#include "support/global_tensors.hpp"
#include "support/numeric.hpp"
#include "support/ranks.hpp"
#include "support/temporary_folder.hpp"

namespace megalith::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

const std::vector<std::pair<std::string, std::string>> kBertCases{
    {"model", "BertModel"},
    {"encoder", "BertModel"},
    {"pretraining", "BertForPreTraining"},
    {"masked_lm", "BertForMaskedLM"},
    {"classification", "BertForSequenceClassification"},
    {"multiple_choice", "BertForMultipleChoice"},
    {"question_answering", "BertForQuestionAnswering"}};

std::string bert_source(const std::string& name) {
  return golden_path("hugging_face_bert/" + name).string();
}

/// Under the names of the golden file, [B, ...].
TensorMap outputs_of(const BertModel& model, const ModelInput& input, const Group& tensor) {
  const ModelConfig& config = model.config();
  LayerContext context;
  const at::Tensor hidden = model.hidden_states(input, context);
  TensorMap outputs{{"hidden", hidden.transpose(0, 1)}};
  if (config.has_pooler()) outputs["pooled"] = model.pooled(hidden);
  if (config.lm_head_transform) {
    outputs["lm_head"] =
        gather_logits(model.logits(hidden), config.vocab_size, tensor).transpose(0, 1);
  }
  if (config.qa_head) outputs["qa_head"] = model.span_logits(hidden).transpose(0, 1);
  if (config.binary_head) outputs["binary_head"] = model.order_logits(outputs.at("pooled"));
  if (config.num_classes > 0) {
    outputs["classification_head"] = model.class_logits(outputs.at("pooled"));
  }
  if (config.multichoice_head) {
    outputs["multichoice_head"] = model.choice_logits(outputs.at("pooled"));
  }
  return outputs;
}

ModelInput input_of(const TensorMap& expected) {
  const at::Tensor ids = expected.at("input_ids");
  return {.tokens = ids,
          .position_ids = at::arange(ids.size(1)).expand_as(ids),
          .segments = {},
          .token_types = expected.at("token_type_ids"),
          .padding_mask = expected.at("attention_mask").to(at::kBool)};
}

/// The part of the sum over the logits that this rank's columns give: gathering has no gradient.
at::Tensor weighted_logits(const BertModel& model, const at::Tensor& hidden,
                           const at::Tensor& weight, const Group& tensor) {
  const at::Tensor logits = model.logits(hidden).transpose(0, 1);  // [B, S, V/t]
  const int64_t mine = logits.size(-1), padding = mine * tensor.size() - weight.size(-1);
  return (logits * at::constant_pad_nd(weight, {0, padding}).narrow(-1, tensor.rank * mine, mine))
      .sum();
}

/// In fp32, whatever the weights are stored in.
void expect_outputs(const HuggingFaceModel& source, const TensorMap& expected,
                    int64_t tensor_size) {
  const ModelInput input = input_of(expected);
  GlobalTensors gradients;
  const bool has_gradients = expected.contains("weight.hidden");
  run_ranks({.tensor = tensor_size}, [&](RankContext& ctx) {
    const Group& tensor = ctx.groups().tensor();
    ModelConfig config = source.source.config;
    config.make_vocab_size_divisible_by = 8;
    BertModel bert(config, ctx.groups(), at::kFloat, at::kCPU, std::nullopt);
    load_weights(source.source, bert);
    const TensorMap outputs = outputs_of(bert, input, tensor);
    at::Tensor loss;
    size_t compared = 0;
    for (const auto& [name, output] : outputs) {
      // What transformers computes in the padding is its own affair.
      const at::Tensor seen = output.dim() == 3 ? input.padding_mask.unsqueeze(-1) : at::ones({});
      expect_close(output.detach() * seen, expected.at(name) * seen, 1e-5, name);
      ++compared;
      if (!has_gradients) continue;
      const at::Tensor& weight = expected.at("weight." + name);
      const at::Tensor part =
          name == "lm_head"
              ? weighted_logits(bert, outputs.at("hidden").transpose(0, 1), weight, tensor)
              : (output * weight).sum();
      loss = loss.defined() ? loss + part : part;
    }
    EXPECT_EQ(compared, outputs.size());
    if (!has_gradients) return;
    loss.backward();
    gradients.add_gradients(bert.parameters());
  });
  if (!has_gradients) return;
  const TensorMap ours = gradients.take();
  EXPECT_EQ(ours.size(), source.source.tensors.size());
  for (const auto& [tensor, name] : source.tensors) {
    expect_close(ours.at(tensor.parts[0].name), expected.at("grad." + name), 1e-5, name);
  }
}

TEST(HuggingFaceBert, EveryOutputAndGradientEqualsTransformers) {
  for (const auto& [name, architecture] : kBertCases) {
    SCOPED_TRACE(name);
    const HuggingFaceModel source = open_hugging_face(bert_source(name));
    EXPECT_EQ(architecture_of(source.config), architecture);
    const TensorMap expected =
        read_golden_tensors("hugging_face_bert/" + name + "/expected.safetensors");
    for (const auto& head : source.source.config.head_names()) {
      EXPECT_TRUE(expected.contains(head == "pooler" ? "pooled" : head)) << head;
    }
    for (const int64_t tensor : {1, 2}) {
      SCOPED_TRACE(tensor);
      expect_outputs(source, expected, tensor);
    }
  }
}

/// Every tensor with its bits, every field that makes the model, the names of the classes.
TEST(HuggingFaceBert, ExportGivesTheSourceAgain) {
  for (const auto& [name, architecture] : kBertCases) {
    SCOPED_TRACE(name);
    const TemporaryFolder folder;
    const HuggingFaceModel model = open_hugging_face(bert_source(name));
    const auto checkpoint = Checkpoint::open(write_model(model.source, folder.path("imported")));
    check_gives_back(checkpoint, model);
    EXPECT_EQ(weights_dtype(checkpoint), model.files->entry(model.tensors[0].second).dtype);
    const auto written = write_hugging_face(checkpoint, folder.path("out"));
    EXPECT_EQ(written.family, HuggingFaceFamily::kBert);
    EXPECT_EQ(written.architecture, architecture);
    const HuggingFaceModel again = open_hugging_face(folder.path("out"));
    EXPECT_EQ(again.source.tensors.size(), model.source.tensors.size());
    check_gives_back(checkpoint, again);
    ModelConfig before = model.source.config, after = again.source.config;
    EXPECT_EQ(fields_to_json(after.shape_fields()), fields_to_json(before.shape_fields()));
    EXPECT_EQ(again.config.json.at("architectures"), Json::array({architecture}));
    EXPECT_EQ(again.config.json.at("pad_token_id"), 0);
  }
  const auto labels = open_hugging_face(bert_source("classification")).config.json.at("id2label");
  EXPECT_EQ(labels.at("1"), "neutral");
}

/// A folder of other names and contents than today's transformers writes.
std::string rewritten(const TemporaryFolder& folder, const std::string& source,
                      const std::function<std::string(const std::string&)>& rename,
                      const TensorMap& more = {}, const Json& config_changes = Json::object()) {
  const HuggingFaceModel model = open_hugging_face(bert_source(source));
  TensorMap values = more;
  for (const auto& name : model.files->names()) {
    if (const auto other = rename(name); !other.empty()) values[other] = model.files->tensor(name);
  }
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, value] : values) {
    entries.push_back({name, value.scalar_type(), value.sizes().vec()});
  }
  std::filesystem::create_directories(folder.path("made"));
  SafetensorsWriter writer(folder.path("made/model.safetensors"), entries, {},
                           SafetensorsWriter::Sums::kNone);
  for (const auto& entry : writer.entries()) writer.append(values.at(entry.name));
  writer.commit();
  Json config = model.config.json;
  config.update(config_changes);
  folder.write("made/config.json", config.dump());
  return folder.path("made");
}

std::string same_name(const std::string& name) { return name; }

std::string old_name(const std::string& today) {
  std::string name = today;
  if (name.ends_with("LayerNorm.weight")) name.replace(name.size() - 6, 6, "gamma");
  if (name.ends_with("LayerNorm.bias")) name.replace(name.size() - 4, 4, "beta");
  return name;
}

/// As Google's BERTs lie on the hub: old names, a config.json of few fields, a class of fewer heads
/// than the file has, buffers, copies of the tied embedding.
TEST(HuggingFaceBert, FoldersOfOlderTimesAreTheSameModel) {
  const TemporaryFolder folder;
  const HuggingFaceModel model = open_hugging_face(bert_source("pretraining"));
  const Json config{{"architectures", {"BertForMaskedLM"}},
                    {"directionality", "bidi"},
                    {"output_past", true},
                    {"pooler_fc_size", 768},
                    {"pooler_type", "first_token_transform"}};
  const TensorMap more{
      {"bert.embeddings.position_ids", at::arange(12).unsqueeze(0)},
      {"cls.predictions.decoder.weight",
       model.files->tensor("bert.embeddings.word_embeddings.weight")},
      {"cls.predictions.decoder.bias", model.files->tensor("cls.predictions.bias")}};
  const auto older = open_hugging_face(rewritten(folder, "pretraining", old_name, more, config));
  EXPECT_EQ(architecture_of(older.config), "BertForPreTraining");
  ASSERT_EQ(older.notices.size(), 2u);
  EXPECT_THAT(older.notices[0], HasSubstr("a sentence order head, which is taken along"));
  EXPECT_THAT(older.notices[1], HasSubstr("1 tensors of masks"));
  const TemporaryFolder target;
  check_gives_back(Checkpoint::open(write_model(older.source, target.path("imported"))), model);
}

TEST(HuggingFaceBert, TheEncoderAloneComesWithAndWithoutPrefixAndPooler) {
  const TemporaryFolder folder;
  const HuggingFaceModel model = open_hugging_face(bert_source("model"));
  const auto prefixed = open_hugging_face(
      rewritten(folder, "model", [](const std::string& name) { return "bert." + name; }));
  EXPECT_EQ(prefixed.source.tensors.size(), model.source.tensors.size());
  EXPECT_TRUE(prefixed.source.config.pooler);
  const TemporaryFolder other;
  const auto without = open_hugging_face(rewritten(other, "model", [](const std::string& name) {
    return name.starts_with("pooler") ? std::string() : name;
  }));
  EXPECT_FALSE(without.source.config.has_pooler());
  EXPECT_EQ(without.source.tensors.size() + 2, model.source.tensors.size());
}

TEST(HuggingFaceBert, WhatIsWrongWithAFolderIsNamed) {
  const auto refusal = [](const std::function<std::string(const std::string&)>& rename,
                          const TensorMap& more, const Json& config = Json::object()) {
    const TemporaryFolder folder;
    return error_of<UsageError>(
        [&] { open_hugging_face(rewritten(folder, "pretraining", rename, more, config)); });
  };
  const std::string tensors = refusal(
      [](const std::string& name) {
        const bool is_spoiled = name == "bert.pooler.dense.bias";
        return is_spoiled ? std::string("bert.poller.dense.bias") : name;
      },
      {{"cls.predictions.decoder.weight", at::zeros({61, 8})},
       {"cls.seq_relationship.bias", at::zeros({3})}});
  EXPECT_THAT(tensors, HasSubstr("has no tensor 'bert.pooler.dense.bias' [8]"));
  EXPECT_THAT(tensors, HasSubstr("'bert.poller.dense.bias' [8] belongs to no BertForPreTraining"));
  EXPECT_THAT(tensors, HasSubstr("'cls.predictions.decoder.weight' is not "
                                 "'bert.embeddings.word_embeddings.weight'"));
  EXPECT_THAT(refusal(same_name, {}, {{"type_vocab_size", 2}}),
              HasSubstr("'bert.embeddings.token_type_embeddings.weight' is [3, 8], config.json "
                        "asks for [2, 8]"));
  const std::string fields = refusal(same_name, {},
                                     {{"hidden_act", "relu"},
                                      {"is_decoder", true},
                                      {"position_embedding_type", "relative_key"},
                                      {"tie_word_embeddings", false},
                                      {"unheard_of", 3}});
  for (const char* const text :
       {"'hidden_act': 'relu' is not supported", "'is_decoder': only encoders",
        "'position_embedding_type': 'relative_key'", "'tie_word_embeddings'", "'unheard_of' (3)"}) {
    EXPECT_THAT(fields, HasSubstr(text));
  }
  EXPECT_THAT(refusal(same_name, {}, {{"architectures", {"BertForTokenClassification"}}}),
              HasSubstr("BertForQuestionAnswering"));
  // A classifier of which nothing says what it is.
  EXPECT_THAT(refusal(same_name, {{"classifier.weight", at::zeros({2, 8})}}),
              HasSubstr("'classifier.weight' [2, 8] belongs to no BertForPreTraining"));
}

Checkpoint checkpoint_of(const TemporaryFolder& folder, const std::string& source,
                         const std::function<void(ModelConfig&)>& change) {
  HuggingFaceModel model = open_hugging_face(bert_source(source));
  change(model.source.config);
  return Checkpoint::open(write_model(model.source, folder.path("imported")));
}

TEST(HuggingFaceBert, OtherOrdersOfNormsAreRefusedWithWhatTransformersCanHold) {
  const TemporaryFolder folder;
  const auto checkpoint = checkpoint_of(
      folder, "pretraining", [](ModelConfig& config) { config.residual_post_layernorm = false; });
  const auto text =
      error_of<UsageError>([&] { write_hugging_face(checkpoint, folder.path("out")); });
  EXPECT_THAT(text, HasSubstr("for BertForPreTraining"));
  EXPECT_THAT(text, HasSubstr("transformers has no BERT class"));
  EXPECT_FALSE(std::filesystem::exists(folder.path("out")));
}

TEST(HuggingFaceBert, AClassOfFewerHeadsIsWrittenWithoutTheOthers) {
  const TemporaryFolder folder;
  const auto checkpoint = checkpoint_of(folder, "pretraining", [](ModelConfig&) {});
  write_hugging_face(checkpoint, folder.path("out"), {.architecture = "BertModel"});
  const auto encoder = open_hugging_face(folder.path("out"));
  EXPECT_EQ(encoder.source.config.head_names(), std::vector<std::string>{"pooler"});
  check_gives_back(checkpoint, encoder);
  EXPECT_THAT(error_of<UsageError>([&] {
                write_hugging_face(checkpoint, folder.path("qa"),
                                   {.architecture = "BertForQuestionAnswering"});
              }),
              HasSubstr("has no qa_head"));
  EXPECT_THAT(error_of<UsageError>([&] {
                write_hugging_face(checkpoint, folder.path("x"), {.architecture = "BertForChess"});
              }),
              HasSubstr("supported are BertForPreTraining"));
}

TEST(HuggingFaceBert, PublishedConfigurationsHaveThePublishedParameters) {
  // google-bert/bert-base-uncased: 110,106,428 in its file, where the order head and a copy of the
  // vocabulary's bias are counted: 109,482,240 of encoder and pooler, 622,650 of the
  // language-model head, 1,538 of the order head.
  const TemporaryFolder folder;
  Problems problems;
  const std::string published =
      R"({"architectures":["BertForMaskedLM"],"attention_probs_dropout_prob":0.1,
      "gradient_checkpointing":false,"hidden_act":"gelu","hidden_dropout_prob":0.1,
      "hidden_size":768,"initializer_range":0.02,"intermediate_size":3072,
      "layer_norm_eps":1e-12,"max_position_embeddings":512,"model_type":"bert",
      "num_attention_heads":12,"num_hidden_layers":12,"pad_token_id":0,
      "position_embedding_type":"absolute","transformers_version":"4.6.0.dev0",
      "type_vocab_size":2,"use_cache":true,"vocab_size":30522})";
  auto config = read_hugging_face_config(folder.write("config.json", published), {}, problems);
  EXPECT_TRUE(problems.empty()) << fmt::format("{}", problems.texts());
  add_bert_heads(config, [](const std::string&) { return true; });
  config.model.qa_head = false;
  EXPECT_EQ(config.model.num_parameters(30522), 109'482'240 + 622'650 + 1'538);
}

}  // namespace
}  // namespace megalith::testing

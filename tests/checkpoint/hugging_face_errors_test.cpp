// Folders that are no model this program reads: each mistake is named, several at once, and nothing
// is written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include "megalith/checkpoint/hugging_face.hpp"
#include "megalith/checkpoint/write_model.hpp"
#include "megalith/core/atomic_file.hpp"
#include "support/golden.hpp"
#include "support/temporary_folder.hpp"

namespace megalith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

/// A copy of a golden model that a test spoils.
class Copy {
 public:
  explicit Copy(const std::string& name) {
    fs::copy(golden_path("hugging_face/" + name), folder_.path("model"));
    config = Json::parse(read_text_file(folder_.path("model/config.json")));
  }
  std::string path(const std::string& name = "") const {
    return name.empty() ? folder_.path("model") : folder_.path("model/" + name);
  }
  void write(const std::string& name, const std::string& text) {
    folder_.write("model/" + name, text);
  }
  /// The weights with some left out and some put in.
  void change_weights(const std::vector<std::string>& removed,
                      const std::map<std::string, at::Tensor>& added) {
    std::map<std::string, at::Tensor> values;
    const SafetensorsFile file(path("model.safetensors"));
    for (const auto& entry : file.entries()) values[entry.name] = file.tensor(entry).clone();
    for (const auto& name : removed) EXPECT_EQ(values.erase(name), 1u) << name;
    for (const auto& [name, value] : added) values[name] = value;
    std::vector<SafetensorsEntry> entries;
    for (const auto& [name, value] : values) {
      entries.push_back({name, value.scalar_type(), value.sizes().vec()});
    }
    SafetensorsWriter writer(path("model.safetensors"), entries, {},
                             SafetensorsWriter::Sums::kNone);
    for (const auto& entry : writer.entries()) writer.append(values.at(entry.name));
    writer.commit();
  }
  std::string error(const HuggingFaceReadOptions& options = {}) {
    write("config.json", config.dump());
    return error_of<UsageError>([&] { open_hugging_face(path(), options); });
  }

  Json config;

 private:
  TemporaryFolder folder_;
};

TEST(HuggingFaceErrors, ArchitecturesAndKindsNameTheSupportedOnes) {
  Copy gemma("llama");
  gemma.config["model_type"] = "gemma2";
  EXPECT_THAT(gemma.error(), AllOf(HasSubstr("'gemma2'"), HasSubstr("GPT2LMHeadModel (gpt2)"),
                                   HasSubstr("Qwen3ForCausalLM (qwen3)")));
  Copy head("llama");
  head.config["architectures"] = {"LlamaForSequenceClassification"};
  EXPECT_THAT(head.error(), HasSubstr("LlamaForSequenceClassification"));
  Copy longrope("llama");
  longrope.config["rope_parameters"] = {
      {"rope_type", "longrope"}, {"short_factor", {1}}, {"long_factor", {2}}};
  EXPECT_THAT(longrope.error(), AllOf(HasSubstr("kind 'longrope' is not supported; supported are "),
                                      HasSubstr("llama3"), Not(HasSubstr("short_factor"))));
}

TEST(HuggingFaceErrors, SeveralFieldsAreListedAtOnce) {
  Copy copy("llama");
  copy.config["hidden_act"] = "gelu";
  copy.config["num_hidden_layers"] = "two";
  copy.config.erase("vocab_size");
  copy.config["quantization_config"] = {{"bits", 4}};
  copy.config["rope_parameters"].erase("factor");
  copy.config["rope_parameters"]["scale"] = 3;
  copy.config["never_heard_of"] = false;  // says nothing
  EXPECT_THAT(copy.error(),
              AllOf(HasSubstr("'hidden_act': 'gelu' is not supported; supported is silu"),
                    HasSubstr("'num_hidden_layers' must be a whole number, got \"two\""),
                    HasSubstr("has no 'vocab_size'"), HasSubstr("'quantization_config'"),
                    HasSubstr("--ignore-config-key quantization_config"),
                    HasSubstr("rope_parameters: has no 'factor'"), HasSubstr("'scale' (3)"),
                    Not(HasSubstr("never_heard_of"))));
}

TEST(HuggingFaceErrors, UnknownFieldsAreIgnoredOnlyWhenAsked) {
  Copy copy("gpt2");
  copy.config["residual_scale"] = 2;
  EXPECT_THAT(copy.error(), HasSubstr("'residual_scale' (2) is not supported"));
  EXPECT_EQ(copy.error({.ignored_keys = {"residual_scale"}}), "(nothing was thrown)");
  EXPECT_THAT(copy.error({.ignored_keys = {"residual_scale", "n_layer"}}),
              HasSubstr("--ignore-config-key n_layer"));
}

TEST(HuggingFaceErrors, GptTwoWithOtherScores) {
  Copy copy("gpt2");
  copy.config["scale_attn_weights"] = false;
  copy.config["scale_attn_by_inverse_layer_idx"] = true;
  copy.config["activation_function"] = "relu";
  copy.config["add_cross_attention"] = true;
  EXPECT_THAT(copy.error({.max_position_embeddings = 8}),
              AllOf(HasSubstr("scale_attn_weights"), HasSubstr("scale_attn_by_inverse_layer_idx"),
                    HasSubstr("'relu' is not supported"), HasSubstr("add_cross_attention"),
                    HasSubstr("--max-position-embeddings 8: the positions of GPT-2 are weights")));
}

TEST(HuggingFaceErrors, ASlidingWindowMustHoldAllPositions) {
  Copy mistral("mistral");
  mistral.config["sliding_window"] = 16;
  EXPECT_THAT(mistral.error(), HasSubstr("give --max-position-embeddings 16"));
  EXPECT_EQ(mistral.error({.max_position_embeddings = 16}), "(nothing was thrown)");
  EXPECT_THAT(mistral.error({.max_position_embeddings = 33}), HasSubstr("give no more"));
  mistral.config["sliding_window"] = 32;
  EXPECT_EQ(mistral.error(), "(nothing was thrown)");
  mistral.config.erase("sliding_window");  // the class's own 4096
  EXPECT_EQ(mistral.error(), "(nothing was thrown)");
  Copy qwen("qwen2");
  qwen.config["sliding_window"] = 8;  // not used
  EXPECT_EQ(qwen.error(), "(nothing was thrown)");
  qwen.config["use_sliding_window"] = true;  // in no layer of layer_types
  EXPECT_EQ(qwen.error(), "(nothing was thrown)");
  qwen.config["layer_types"][1] = "sliding_attention";
  EXPECT_THAT(qwen.error(), HasSubstr("'sliding_window': 8 is below the model's 32 positions"));
  qwen.config.erase("layer_types");  // before they were written
  EXPECT_EQ(qwen.error(), "(nothing was thrown)");
  qwen.config["max_window_layers"] = 1;
  EXPECT_THAT(qwen.error(), HasSubstr("'sliding_window'"));
}

TEST(HuggingFaceErrors, TensorsAreNamed) {
  Copy copy("llama");
  const auto norm = "model.layers.0.input_layernorm.weight";
  copy.change_weights({norm, "model.norm.weight"},
                      {{"model.layers.1.mlp.up_proj.weight", at::zeros({16, 24})},
                       {"model.layers.2.mlp.up_proj.weight", at::zeros({24, 16})},
                       {"model.layers.0.self_attn.rotary_emb.inv_freq", at::zeros({2})},
                       {"lm_head.weight", at::zeros({96, 16}, at::kInt)}});
  EXPECT_THAT(copy.error(),
              AllOf(HasSubstr(fmt::format("has no tensor '{}' [16]", norm)),
                    HasSubstr("has no tensor 'model.norm.weight'"),
                    HasSubstr("'model.layers.1.mlp.up_proj.weight' is [16, 24], config.json asks "
                              "for [24, 16]"),
                    HasSubstr("'model.layers.2.mlp.up_proj.weight' [24, 16] belongs to no"),
                    HasSubstr("'lm_head.weight' has type I32; supported are F32, F16 and BF16"),
                    Not(HasSubstr("inv_freq"))));
}

TEST(HuggingFaceErrors, ATiedOutputLayerMustBeTheEmbedding) {
  Copy copy("gpt2");
  copy.change_weights({}, {{"lm_head.weight", at::zeros({96, 16})}});
  EXPECT_THAT(copy.error(), HasSubstr("'lm_head.weight' is not 'transformer.wte.weight'"));
  copy.config["tie_word_embeddings"] = false;
  EXPECT_EQ(copy.error(), "(nothing was thrown)");
}

TEST(HuggingFaceErrors, AModelOfAnotherShapeDoesNotFillTheScreen) {
  Copy copy("llama");
  copy.config["num_hidden_layers"] = 50;
  EXPECT_THAT(copy.error(), AllOf(HasSubstr("... and 412 more tensors are missing"),
                                  HasSubstr("model.layers.2.input_layernorm.weight")));
}

TEST(HuggingFaceErrors, PicklesAreRefusedWithTheWayToConvertThem) {
  const TemporaryFolder folder;
  folder.write("pytorch_model.bin", "PK");
  folder.write("config.json", "{}");
  const auto folder_error = error_of<UsageError>([&] { open_hugging_face(folder.path()); });
  const auto file_error =
      error_of<UsageError>([&] { open_hugging_face(folder.path("pytorch_model.bin")); });
  for (const auto& error : {folder_error, file_error}) {
    EXPECT_THAT(error, AllOf(HasSubstr("pytorch_model.bin"), HasSubstr("pickle"),
                             HasSubstr("from_pretrained('" + folder.path() + "'"),
                             HasSubstr("save_pretrained('" + folder.path() + "-safetensors')")));
  }
}

TEST(HuggingFaceErrors, FilesThatAreMissingTruncatedOrForeign) {
  const TemporaryFolder empty;
  const auto open = [](const std::string& path) {
    return error_of<UsageError>([&] { open_hugging_face(path); });
  };
  EXPECT_THAT(open(empty.path()), HasSubstr("holds neither model.safetensors nor"));
  EXPECT_THAT(open(empty.path("nowhere")), HasSubstr("is not there"));
  EXPECT_THAT(open(empty.write("notes.txt", "x")), HasSubstr("is neither a .safetensors file"));

  Copy cut("llama");
  fs::resize_file(cut.path("model.safetensors"), 5000);
  EXPECT_THAT(cut.error(), AllOf(HasSubstr("model.safetensors"), HasSubstr("truncated")));
  Copy foreign("llama");
  foreign.write("model.safetensors", "GGUF and more that is none of it");
  EXPECT_THAT(foreign.error(), HasSubstr("is not a safetensors file"));
  Copy renamed("llama");
  fs::rename(renamed.path("model.safetensors"), renamed.path("weights.fp32.safetensors"));
  EXPECT_THAT(open(renamed.path()), HasSubstr("but expected.safetensors, weights.fp32.safetensors; "
                                              "give the file that is meant"));
  fs::remove(renamed.path("expected.safetensors"));
  EXPECT_EQ(open_hugging_face(renamed.path()).tensors.size(),
            open_hugging_face(Copy("llama").path()).tensors.size());
  Copy bare("llama");
  fs::remove(bare.path("config.json"));
  EXPECT_THAT(open(bare.path()), HasSubstr("the weights alone do not say what model they are of"));
  bare.write("config.json", "{\"model_type\": ");
  EXPECT_THAT(open(bare.path()), HasSubstr("config.json: is no JSON object"));
  bare.write("config.json", "{\"model_type\": 7}");
  EXPECT_THAT(open(bare.path()), HasSubstr("are not text"));
}

TEST(HuggingFaceErrors, ShardsAreCheckedAgainstTheirIndex) {
  const auto index_of = [](const Copy& copy) {
    return Json::parse(read_text_file(copy.path("model.safetensors.index.json")));
  };
  Copy missing("mistral");
  fs::remove(missing.path("model-00001-of-00004.safetensors"));
  fs::remove(missing.path("model-00003-of-00004.safetensors"));
  EXPECT_THAT(missing.error(), AllOf(HasSubstr("model-00001-of-00004.safetensors: is named by"),
                                     HasSubstr("model-00003-of-00004.safetensors: is named by")));
  Copy moved("mistral");
  Json index = index_of(moved);
  index["weight_map"]["model.norm.weight"] = "model-00001-of-00004.safetensors";
  index["weight_map"]["model.nothing"] = "model-00001-of-00004.safetensors";
  index["weight_map"].erase("model.layers.0.mlp.up_proj.weight");
  moved.write("model.safetensors.index.json", index.dump());
  EXPECT_THAT(moved.error(),
              AllOf(HasSubstr("says that 'model.norm.weight' is in"),
                    HasSubstr("has no tensor 'model.nothing'"),
                    HasSubstr("holds 'model.layers.0.mlp.up_proj.weight', of which")));
  index["weight_map"]["model.norm.weight"] = "../elsewhere.safetensors";
  moved.write("model.safetensors.index.json", index.dump());
  EXPECT_THAT(moved.error(), HasSubstr("no name of a file in this folder"));
  moved.write("model.safetensors.index.json", "[]");
  EXPECT_THAT(moved.error(), HasSubstr("has no 'weight_map'"));
  Copy both("mistral");
  fs::copy(both.path("model-00001-of-00004.safetensors"), both.path("model.safetensors"));
  EXPECT_THAT(both.error(), HasSubstr("holds both"));
}

TEST(HuggingFaceErrors, DamagedConfigurationsEndInAMistakeNeverInACrash) {
  const Json whole = Json::parse(read_text_file(golden_path("hugging_face/qwen2/config.json")));
  const std::vector<Json> values{nullptr,
                                 -1,
                                 0,
                                 1e30,
                                 1.5,
                                 "x",
                                 true,
                                 Json::array(),
                                 Json::object(),
                                 {1, 2},
                                 18446744073709551615u};
  for (const auto& [key, original] : whole.items()) {
    for (const Json& value : values) {
      const TemporaryFolder folder;
      Json config = whole;
      config[key] = value;
      Problems problems;
      try {
        read_hugging_face_config(folder.write("config.json", config.dump()), {}, problems);
      } catch (const UsageError&) {
      }
    }
  }
}

TEST(HuggingFaceErrors, NothingIsOverwrittenAndNothingIsLeft) {
  const TemporaryFolder folder;
  const HuggingFaceModel model = open_hugging_face(golden_path("hugging_face/llama").string());
  const Checkpoint checkpoint = Checkpoint::open(write_model(model.source, folder.path("in")));
  EXPECT_THAT(error_of<UsageError>([&] { write_model(model.source, folder.path("in")); }),
              HasSubstr("is there already"));
  folder.write("out/notes.txt", "mine");
  EXPECT_THAT(error_of<UsageError>([&] { write_hugging_face(checkpoint, folder.path("out")); }),
              HasSubstr("it is not overwritten"));
  EXPECT_THAT(error_of<UsageError>([&] {
                write_hugging_face(checkpoint, folder.path("new"),
                                   {.family = HuggingFaceFamily::kQwen3});
              }),
              AllOf(HasSubstr("for Qwen3ForCausalLM, --qk-layernorm must be on")));
  EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"in", "out"}));
}

/// A model that no family has: every family says what it lacks.
TEST(HuggingFaceErrors, AModelThatFitsNoFamilyIsToldWhy) {
  const TemporaryFolder folder;
  HuggingFaceModel model = open_hugging_face(golden_path("hugging_face/gpt2").string());
  model.source.config.rotary_base = 10000;
  model.source.config.position_embedding = PositionEmbedding::kNone;
  const Checkpoint checkpoint = Checkpoint::open(write_model(model.source, folder.path("in")));
  EXPECT_THAT(error_of<UsageError>([&] { write_hugging_face(checkpoint, folder.path("out")); }),
              AllOf(HasSubstr("for GPT2LMHeadModel, --position-embedding-type must be learned"),
                    HasSubstr("for LlamaForCausalLM, --position-embedding-type must be rope; "
                              "--normalization must be RMSNorm")));
}

}  // namespace
}  // namespace megalith::testing

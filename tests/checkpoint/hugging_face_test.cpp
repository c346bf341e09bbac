// Models of every family that transformers made: imported, they give its logits, loss and
// gradients; exported, they are the source again.
//
// tests/golden/hugging_face: tests/oracles/hugging_face_reference.py.
#include "megalith/checkpoint/hugging_face.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "megalith/checkpoint/manifest.hpp"
#include "megalith/checkpoint/model_io.hpp"
#include "megalith/checkpoint/write_model.hpp"
#include "megalith/models/gpt.hpp"
#include "megalith/parallel/collectives.hpp"
#include "support/global_tensors.hpp"
#include "support/numeric.hpp"
#include "support/ranks.hpp"
#include "support/temporary_folder.hpp"

namespace megalith::testing {
namespace {

using Json = nlohmann::json;

const std::vector<std::string> kCases{"gpt2",  "llama", "llama_biases", "mistral",
                                      "qwen2", "qwen3", "qwen3_biases"};

std::string source_of(const std::string& name) {
  return golden_path("hugging_face/" + name).string();
}

Checkpoint import_to(const TemporaryFolder& folder, const HuggingFaceModel& model) {
  return Checkpoint::open(write_model(model.source, folder.path("imported")));
}

/// Logits, loss and gradients on so many tensor ranks, in fp32.
void expect_equal_to_transformers(const Checkpoint& checkpoint, const HuggingFaceModel& model,
                                  const TensorMap& expected, int64_t tensor_size) {
  const ModelConfig config = model_config_from(checkpoint);
  const at::Tensor ids = expected.at("input_ids");
  GlobalTensors gradients;
  run_ranks({.tensor = tensor_size}, [&](RankContext& ctx) {
    GptModel gpt(config, ctx.groups(), at::kFloat, at::kCPU, 1);
    load_weights(checkpoint, gpt);
    const at::Tensor positions = at::arange(ids.size(1)).expand_as(ids);
    LayerContext context;
    {
      const at::NoGradGuard no_grad;
      const at::Tensor logits =
          gather_logits(gpt.logits(gpt.hidden_states({ids, positions, {}}, context)),
                        config.vocab_size, ctx.groups().tensor());
      expect_close(logits.transpose(0, 1), expected.at("logits"), 1e-5, "logits");
    }
    const int64_t predictions = ids.size(1) - 1;
    const auto cut = [&](const at::Tensor& x, int64_t first) {
      return x.narrow(1, first, predictions).contiguous();
    };
    const at::Tensor loss =
        gpt.token_losses({cut(ids, 0), cut(positions, 0), {}}, cut(ids, 1), context).mean();
    expect_close(loss.view({1}), expected.at("loss"), 1e-5, "loss");
    loss.backward();
    for (auto& parameter : gpt.parameters()) {
      if (parameter.partial_over_tensor) {
        all_reduce(parameter.value.mutable_grad(), ctx.groups().tensor());
      }
    }
    gradients.add_gradients(gpt.parameters());
  });
  const TensorMap ours = gradients.take();
  size_t compared = 0;
  for (const auto& [tensor, name] : model.tensors) {
    const at::Tensor theirs = expected.at("grad." + name);
    for (size_t i = 0; i < tensor.parts.size(); ++i) {
      const std::string& part = tensor.parts[i].name;
      expect_close(ours.at(part), tensor.part_of(theirs, i), 1e-5, part);
      ++compared;
    }
  }
  EXPECT_EQ(compared, ours.size());
}

TEST(HuggingFace, LogitsLossAndGradientsEqualTransformers) {
  for (const auto& name : kCases) {
    SCOPED_TRACE(name);
    const TemporaryFolder folder;
    const HuggingFaceModel model = open_hugging_face(source_of(name));
    const Checkpoint checkpoint = import_to(folder, model);
    check_gives_back(checkpoint, model);
    const TensorMap expected =
        read_golden_tensors("hugging_face/" + name + "/expected.safetensors");
    for (const int64_t tensor : {1, 2}) {
      SCOPED_TRACE(tensor);
      expect_equal_to_transformers(checkpoint, model, expected, tensor);
    }
  }
}

/// Every tensor with its bits, and every field that makes the model.
TEST(HuggingFace, ExportGivesTheSourceAgain) {
  for (const auto& name : kCases) {
    SCOPED_TRACE(name);
    const TemporaryFolder folder;
    const HuggingFaceModel model = open_hugging_face(source_of(name));
    const Checkpoint checkpoint = import_to(folder, model);
    EXPECT_EQ(weights_dtype(checkpoint), model.files->entry(model.tensors[0].second).dtype);
    const WrittenHuggingFace written = write_hugging_face(
        checkpoint, folder.path("out"), {.max_shard_bytes = name == "mistral" ? 6000 : 1 << 30});
    EXPECT_EQ(written.family, model.config.family);
    const HuggingFaceModel again = open_hugging_face(folder.path("out"));
    ASSERT_EQ(again.files->names(), model.files->names());
    for (const auto& tensor : again.files->names()) {
      expect_equal(again.files->tensor(tensor), model.files->tensor(tensor), tensor);
    }
    ModelConfig before = model.config.model, after = again.config.model;
    EXPECT_EQ(fields_to_json(after.shape_fields()), fields_to_json(before.shape_fields()));
    EXPECT_EQ(again.config.json.at("eos_token_id"), model.config.json.at("eos_token_id"));
    const bool is_sharded = name == "mistral";
    EXPECT_EQ(std::filesystem::exists(folder.path("out/model.safetensors.index.json")), is_sharded);
  }
}

/// What a run saved, without a config.json to go by.
TEST(HuggingFace, AFamilyIsFoundForAModelOfOurs) {
  for (const auto& name : kCases) {
    SCOPED_TRACE(name);
    const TemporaryFolder folder;
    HuggingFaceModel model = open_hugging_face(source_of(name));
    model.source.meta.erase("hugging_face");
    const Checkpoint checkpoint = import_to(folder, model);
    const auto family = write_hugging_face(checkpoint, folder.path("out")).family;
    // Without head norms or biases of their own kind, a Mistral is a Llama.
    const bool is_llama = name == "mistral";
    EXPECT_EQ(family, is_llama ? HuggingFaceFamily::kLlama : model.config.family);
    check_gives_back(checkpoint, open_hugging_face(folder.path("out")));
  }
}

/// Names of base models, buffers of old versions, a copy of the tied embedding.
TEST(HuggingFace, GptTwoWithoutPrefixAndWithBuffersIsTheSameModel) {
  const TemporaryFolder folder;
  const HuggingFaceModel model = open_hugging_face(source_of("gpt2"));
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, at::Tensor> values;
  for (const auto& name : model.files->names()) {
    values[name.substr(std::string("transformer.").size())] = model.files->tensor(name);
  }
  values["h.0.attn.bias"] = at::ones({1, 1, 32, 32}).tril();
  values["h.1.attn.masked_bias"] = at::full({}, -1e4);
  values["lm_head.weight"] = values.at("wte.weight");
  for (const auto& [name, value] : values) {
    entries.push_back({name, value.scalar_type(), value.sizes().vec()});
  }
  std::filesystem::create_directories(folder.path("plain"));
  SafetensorsWriter writer(folder.path("plain/model.safetensors"), entries, {},
                           SafetensorsWriter::Sums::kNone);
  for (const auto& entry : writer.entries()) writer.append(values.at(entry.name));
  writer.commit();
  Json config = model.config.json;
  config["architectures"] = {"GPT2Model"};
  config["n_ctx"] = 32;
  config["task_specific_params"] = {{"text-generation", {{"do_sample", true}}}};
  folder.write("plain/config.json", config.dump());
  const HuggingFaceModel plain = open_hugging_face(folder.path("plain"));
  ASSERT_EQ(plain.notices.size(), 1u);
  EXPECT_EQ(plain.notices[0].substr(0, 10), "2 tensors ");
  check_gives_back(import_to(folder, plain), model);
}

/// Norms in fp32 beside matrices in bf16: each keeps its type, and most elements name the model's.
TEST(HuggingFace, MixedTypesStayMixed) {
  const TemporaryFolder folder;
  const HuggingFaceModel model = open_hugging_face(source_of("llama"));
  std::filesystem::create_directories(folder.path("mixed"));
  std::vector<SafetensorsEntry> entries;
  for (const auto& name : model.files->names()) {
    const auto& shape = model.files->entry(name).shape;
    entries.push_back({name, shape.size() == 1 ? at::kFloat : at::kBFloat16, shape});
  }
  SafetensorsWriter writer(folder.path("mixed/model.safetensors"), entries, {},
                           SafetensorsWriter::Sums::kNone);
  for (const auto& entry : writer.entries()) {
    writer.append(model.files->tensor(entry.name).to(entry.dtype));
  }
  writer.commit();
  folder.write("mixed/config.json", model.config.json.dump());
  const HuggingFaceModel mixed = open_hugging_face(folder.path("mixed"));
  const Checkpoint checkpoint = import_to(folder, mixed);
  check_gives_back(checkpoint, mixed);
  EXPECT_EQ(weights_dtype(checkpoint), at::kBFloat16);
  EXPECT_EQ(checkpoint.manifest().find("decoder.final_layernorm.weight")->dtype, at::kFloat);
  write_hugging_face(checkpoint, folder.path("out"));
  const HuggingFaceModel again = open_hugging_face(folder.path("out"));
  EXPECT_EQ(again.config.json.at("torch_dtype"), "bfloat16");
  check_gives_back(checkpoint, again);
}

struct Published {
  const char* name;
  const char* config;
  int64_t parameters;
};

/// config.json as published, and the parameters of the published weights.
TEST(HuggingFace, PublishedConfigurationsHaveThePublishedParameters) {
  const std::vector<Published> published{
      {"openai-community/gpt2",
       R"({"activation_function":"gelu_new","architectures":["GPT2LMHeadModel"],"attn_pdrop":0.1,
       "bos_token_id":50256,"embd_pdrop":0.1,"eos_token_id":50256,"initializer_range":0.02,
       "layer_norm_epsilon":1e-05,"model_type":"gpt2","n_ctx":1024,"n_embd":768,"n_head":12,
       "n_layer":12,"n_positions":1024,"resid_pdrop":0.1,"summary_activation":null,
       "summary_first_dropout":0.1,"summary_proj_to_labels":true,"summary_type":"cls_index",
       "summary_use_proj":true,"task_specific_params":{"text-generation":{"do_sample":true,
       "max_length":50}},"vocab_size":50257})",
       124'439'808},
      {"meta-llama/Llama-3.1-8B",
       R"({"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,
       "bos_token_id":128000,"eos_token_id":128001,"hidden_act":"silu","hidden_size":4096,
       "initializer_range":0.02,"intermediate_size":14336,"max_position_embeddings":131072,
       "mlp_bias":false,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":32,
       "num_key_value_heads":8,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":{
       "factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
       "original_max_position_embeddings":8192,"rope_type":"llama3"},"rope_theta":500000.0,
       "tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.43.0.dev0",
       "use_cache":true,"vocab_size":128256})",
       8'030'261'248},
      {"mistralai/Mistral-7B-v0.3",
       R"({"architectures":["MistralForCausalLM"],"attention_dropout":0.0,"bos_token_id":1,
       "eos_token_id":2,"hidden_act":"silu","hidden_size":4096,"initializer_range":0.02,
       "intermediate_size":14336,"max_position_embeddings":32768,"model_type":"mistral",
       "num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":8,
       "rms_norm_eps":1e-05,"rope_theta":1000000.0,"sliding_window":null,
       "tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.42.0.dev0",
       "use_cache":true,"vocab_size":32768})",
       7'248'023'552},
      {"Qwen/Qwen2.5-0.5B",
       R"({"architectures":["Qwen2ForCausalLM"],"attention_dropout":0.0,"bos_token_id":151643,
       "eos_token_id":151643,"hidden_act":"silu","hidden_size":896,"initializer_range":0.02,
       "intermediate_size":4864,"max_position_embeddings":32768,"max_window_layers":24,
       "model_type":"qwen2","num_attention_heads":14,"num_hidden_layers":24,
       "num_key_value_heads":2,"rms_norm_eps":1e-06,"rope_theta":1000000.0,"sliding_window":32768,
       "tie_word_embeddings":true,"torch_dtype":"bfloat16","transformers_version":"4.40.1",
       "use_cache":true,"use_mrope":false,"use_sliding_window":false,"vocab_size":151936})",
       494'032'768},
      {"Qwen/Qwen3-0.6B",
       R"({"architectures":["Qwen3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,
       "bos_token_id":151643,"eos_token_id":151645,"head_dim":128,"hidden_act":"silu",
       "hidden_size":1024,"initializer_range":0.02,"intermediate_size":3072,
       "max_position_embeddings":40960,"max_window_layers":28,"model_type":"qwen3",
       "num_attention_heads":16,"num_hidden_layers":28,"num_key_value_heads":8,
       "rms_norm_eps":1e-06,"rope_scaling":null,"rope_theta":1000000,"sliding_window":null,
       "tie_word_embeddings":true,"torch_dtype":"bfloat16","transformers_version":"4.51.0",
       "use_cache":true,"use_sliding_window":false,"vocab_size":151936})",
       596'049'920}};
  for (const Published& model : published) {
    const TemporaryFolder folder;
    Problems problems;
    const auto config =
        read_hugging_face_config(folder.write("config.json", model.config), {}, problems);
    EXPECT_TRUE(problems.empty()) << model.name << ": " << fmt::format("{}", problems.texts());
    EXPECT_EQ(config.model.num_parameters(config.model.vocab_size), model.parameters) << model.name;
    int64_t in_tensors = 0;
    for (const auto& tensor : hugging_face_tensors(config.family, config.model)) {
      int64_t count = 1;
      for (const int64_t size : tensor.shape()) count *= size;
      in_tensors += count;
    }
    EXPECT_EQ(in_tensors, model.parameters) << model.name;
  }
}

}  // namespace
}  // namespace megalith::testing

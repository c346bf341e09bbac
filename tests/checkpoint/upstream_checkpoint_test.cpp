// Upstream's checkpoints as models of ours: every weight to the last bit, logits as transformers
// computes them, and what is wrong named. Files: tests/oracles/upstream_checkpoints.py.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "megalith/checkpoint/manifest.hpp"
#include "megalith/checkpoint/model_io.hpp"
#include "megalith/checkpoint/upstream_checkpoint.hpp"
#include "megalith/checkpoint/upstream_folder.hpp"
#include "megalith/checkpoint/upstream_names.hpp"
#include "megalith/core/error.hpp"
#include "megalith/models/gpt.hpp"
#include "support/golden.hpp"
#include "support/numeric.hpp"
#include "support/temporary_folder.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryFolder;

std::string golden_folder(const std::string& layout) {
  return testing::golden_path("upstream-checkpoints/" + layout).string();
}

void convert(const std::string& load, const std::string& save, cli::Words more = {}) {
  cli::Words words{"convert", "--load", load, "--save", save};
  words.insert(words.end(), more.begin(), more.end());
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(cli::run_checkpoint(words), 0);
  ::testing::internal::GetCapturedStdout();
}

/// A copy that a test may spoil.
std::string copy_of(const std::string& layout, const TemporaryFolder& folder) {
  const std::string copy = folder.path(layout);
  fs::copy(golden_folder(layout), copy, fs::copy_options::recursive);
  return copy;
}

std::string refusal(const std::string& load, const UpstreamOverrides& overrides = {}) {
  return error_of<UsageError>(
      [&] { read_upstream_checkpoint(*find_upstream_checkpoint(load, std::nullopt), overrides); });
}

struct Layout {
  const char* name;
  const char* golden;
  at::ScalarType dtype;
};

class UpstreamCheckpoint : public ::testing::TestWithParam<Layout> {};

TEST_P(UpstreamCheckpoint, GivesEveryWeightAndTheLogits) {
  const auto& layout = GetParam();
  TemporaryFolder folder;
  convert(golden_folder(layout.name), folder.path("save"));
  const auto checkpoint = Checkpoint::open(folder.path("save"));
  checkpoint.verify_all();
  EXPECT_EQ(checkpoint.iteration(), 7);
  const auto golden =
      testing::read_golden_tensors(fmt::format("upstream-checkpoints/{}", layout.golden));
  EXPECT_EQ(checkpoint.names("model").size() + 2, golden.size());
  for (const auto& name : checkpoint.names("model")) {
    const at::Tensor expected = golden.at(name).to(layout.dtype);
    const at::Tensor found = checkpoint.read_global(name);
    EXPECT_EQ(found.scalar_type(), layout.dtype) << name;
    EXPECT_TRUE(at::equal(found, expected)) << name;
  }

  const ProcessGroups groups;
  ModelConfig config = model_config_from(checkpoint);
  config.hidden_dropout = config.attention_dropout = 0;
  GptModel model(config, groups, at::kFloat, at::kCPU, 1);
  load_weights(checkpoint, model);
  const at::NoGradGuard no_grad;
  const at::Tensor tokens = golden.at("input_ids");
  LayerContext context;
  const ModelInput input{tokens, at::arange(tokens.size(1)).expand_as(tokens), {}};
  const at::Tensor logits =
      model.logits(model.hidden_states(input, context)).narrow(-1, 0, config.vocab_size);
  // Weights that were rounded to half the width give logits that far away.
  const double tolerance = layout.dtype == at::kFloat ? 1e-5 : 0.05;
  testing::expect_close(logits.transpose(0, 1), golden.at("logits"), tolerance, "logits");
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, UpstreamCheckpoint,
    ::testing::Values(Layout{"v1-stream", "gpt2_2.safetensors", at::kFloat},
                      Layout{"version1-fp16", "gpt2_2.safetensors", at::kHalf},
                      Layout{"version2-bf16-stream", "gpt2_2.safetensors", at::kBFloat16},
                      Layout{"core-pipeline", "gpt2_2.safetensors", at::kFloat},
                      Layout{"legacy-interleaved", "gpt2_4.safetensors", at::kHalf},
                      Layout{"core-llama", "llama.safetensors", at::kFloat}),
    [](const auto& layout) {
      std::string name = layout.param.name;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(UpstreamMeta, SaysWhereItComesFromAndHowFarItGot) {
  TemporaryFolder folder;
  convert(golden_folder("v1-stream"), folder.path("a"));
  convert(golden_folder("core-llama"), folder.path("b"));
  const auto a = Checkpoint::open(folder.path("a")), b = Checkpoint::open(folder.path("b"));
  EXPECT_EQ(a.meta().at("training").at("consumed_samples"), 7 * 4 * 3);  // batch x data ranks
  EXPECT_EQ(b.meta().at("training").at("consumed_samples"), 1234);
  EXPECT_EQ(a.meta().at("source").at("checkpoint_version"), 0);
  EXPECT_EQ(b.meta().at("source").at("tensor"), 2);
  const ModelConfig config = model_config_from(b);
  EXPECT_EQ(config.vocab_size, 91);
  EXPECT_EQ(config.num_query_groups(), 2);
  EXPECT_EQ(config.ffn_hidden_size(), 12);
  EXPECT_EQ(config.position_embedding, PositionEmbedding::kRope);
}

TEST(UpstreamMeta, AReleaseIsFoundAndOtherPrecisionsAreWritten) {
  TemporaryFolder folder;
  const std::string copy = copy_of("v1-stream", folder);
  fs::rename(copy + "/iter_0000007", copy + "/release");
  folder.write("v1-stream/latest_checkpointed_iteration.txt", "release\n");
  convert(copy, folder.path("save"), {"--dtype", "bf16", "--num-files", "3"});
  const auto checkpoint = Checkpoint::open(folder.path("save"));
  EXPECT_EQ(checkpoint.manifest().files.size(), 3U);
  const auto golden = testing::read_golden_tensors("upstream-checkpoints/gpt2_2.safetensors");
  for (const auto& name : checkpoint.names("model")) {
    EXPECT_TRUE(at::equal(checkpoint.read_global(name), golden.at(name).to(at::kBFloat16)));
  }
}

TEST(UpstreamMistakes, MissingRanksAreAllNamed) {
  TemporaryFolder folder;
  const std::string copy = copy_of("version2-bf16-stream", folder);
  fs::remove_all(copy + "/iter_0000007/mp_rank_01");
  fs::remove(copy + "/iter_0000007/mp_rank_02/model_optim_rng.pt");
  EXPECT_THAT(refusal(copy), AllOf(HasSubstr("2 mistakes"),
                                   HasSubstr("mp_rank_01: model_optim_rng.pt is missing, with"),
                                   HasSubstr("mp_rank_02: model_optim_rng.pt is missing; copy")));
}

TEST(UpstreamMistakes, TheLastRanksAreMissedByTheArguments) {
  TemporaryFolder folder;
  const std::string copy = copy_of("legacy-interleaved", folder);
  fs::remove_all(copy + "/iter_0000007/mp_rank_01_000");
  fs::remove_all(copy + "/iter_0000007/mp_rank_01_001");
  EXPECT_THAT(refusal(copy), HasSubstr("holds the files of 1 tensor ranks, and 2 saved it"));
}

TEST(UpstreamMistakes, FilesOfTwoModelsDoNotFitTogether) {
  TemporaryFolder folder;
  const std::string copy = copy_of("version1-fp16", folder);
  fs::copy_file(
      golden_folder("version2-bf16-stream") + "/iter_0000007/mp_rank_01/model_optim_rng.pt",
      copy + "/iter_0000007/mp_rank_01/model_optim_rng.pt", fs::copy_options::overwrite_existing);
  EXPECT_THAT(refusal(copy), HasSubstr("is of iteration 7 and checkpoint_version 2, the first"));
}

TEST(UpstreamMistakes, NewerFormatsAreRefusedWithAWayOut) {
  TemporaryFolder folder;
  folder.write("a/iter_0000007/metadata.json", "{}");
  folder.write("a/latest_checkpointed_iteration.txt", "7");
  EXPECT_THAT(
      error_of<UsageError>([&] { find_upstream_checkpoint(folder.path("a"), std::nullopt); }),
      AllOf(HasSubstr("torch_dist"), HasSubstr("--ckpt-format torch")));
  folder.write("b/mp_rank_00/distrib_optim.pt", "");
  EXPECT_THAT(refusal(folder.path("b")), HasSubstr("only the distributed optimizer's state"));
  folder.write("c/mp_rank_00_000_001/model_optim_rng.pt", "");
  EXPECT_THAT(refusal(folder.path("c")), HasSubstr("expert-parallel"));
}

/// In the copied checkpoint's file of a rank, the bytes `from`, which first stand after `mark`,
/// become `to`.
void patch(const TemporaryFolder& folder, const std::string& rank_folder, const std::string& mark,
           const std::string& from, const std::string& to) {
  const std::string name = rank_folder + "/model_optim_rng.pt";
  std::string bytes = folder.read(name);
  const size_t place = bytes.find(from, bytes.find(mark));
  ASSERT_NE(place, std::string::npos) << mark;
  ASSERT_EQ(from.size(), to.size());
  folder.write(name, bytes.replace(place, to.size(), to));
}

TEST(UpstreamMistakes, MissingAndSuperfluousWeightsAreNamedTogether) {
  TemporaryFolder folder;
  const std::string copy = copy_of("v1-stream", folder);
  patch(folder, "v1-stream/iter_0000007/mp_rank_01", "layers.1.", "mlp.dense_4h_to_h.weight",
        "mlp.dense_4h_to_x.weight");
  patch(folder, "v1-stream/iter_0000007/mp_rank_00", "", "final_layernorm.bias",
        "final_layernorm.gain");
  EXPECT_THAT(
      refusal(copy),
      AllOf(HasSubstr("weights are missing: decoder.layers.1.mlp.linear_fc2.weight (tensor rank "
                      "1), decoder.final_layernorm.bias (tensor rank 0)"),
            HasSubstr("weights that this model does not have: decoder.final_layernorm.gain, "
                      "decoder.layers.1.mlp.dense_4h_to_x.weight"),
            HasSubstr("v1-stream/iter_0000007: ")));
}

TEST(UpstreamMistakes, WrongShapesAreNamedWithBothShapes) {
  TemporaryFolder folder;
  const std::string copy = copy_of("v1-stream", folder);
  patch(folder, "v1-stream/iter_0000007/mp_rank_01", "final_layernorm.weight", "K\x08\x85",
        "K\x06\x85");
  // [8, 16] becomes [16, 8], in the storage that it has.
  const std::string rank = "v1-stream/iter_0000007/mp_rank_00";
  const std::string weight = "layers.0.mlp.dense_4h_to_h.weight";
  patch(folder, rank, weight, "K\x08K\x10\x86", "K\x10K\x08\x86");
  patch(folder, rank, weight, "K\x10K\x01\x86", "K\x08K\x01\x86");
  EXPECT_THAT(refusal(copy),
              AllOf(HasSubstr("weights do not fit: decoder.layers.0.mlp.linear_fc2.weight: on "
                              "tensor rank 0 it has shape [16, 8], expected [8, 16]"),
                    HasSubstr("decoder.final_layernorm.weight: on tensor rank 1 it has shape [6], "
                              "expected [8]")));
}

TEST(UpstreamMistakes, AnUnknownVersionIsNamedWithTheKnownOnes) {
  TemporaryFolder folder;
  const std::string copy = copy_of("version2-bf16-stream", folder);
  for (int rank = 0; rank < 4; ++rank) {
    patch(folder, fmt::format("version2-bf16-stream/iter_0000007/mp_rank_{:02}", rank),
          "checkpoint_version", std::string("G@\0\0", 4), std::string("G@\x12\0", 4));  // 4.5
  }
  EXPECT_THAT(refusal(copy),
              AllOf(HasSubstr("mp_rank_00/model_optim_rng.pt: is of "
                              "checkpoint_version 4.5; 0, 1.0, 2.0 and 3.0 are read"),
                    Not(HasSubstr("mp_rank_01"))));
}

TEST(UpstreamMistakes, AVocabularyThatIsTooLargeIsRefused) {
  EXPECT_THAT(refusal(golden_folder("v1-stream"), {.vocab_size = 97, .num_attention_heads = {}}),
              HasSubstr("--vocab-size 97: the vocabulary has only 96 rows"));
  EXPECT_THAT(refusal(golden_folder("v1-stream"), {.vocab_size = {}, .num_attention_heads = 2}),
              HasSubstr("--num-attention-heads 2: the checkpoint says 4"));
}

/// One dictionary in itself, and 14 of which each holds the one before ten times over.
TEST(UpstreamMistakes, NestingWithoutEndIsRefused) {
  using namespace std::string_literals;
  const auto stream = [](const std::string& before, const std::string& model) {
    return "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s + "\x80\x02M\xe9\x03."s +
           "\x80\x02}."s + "\x80\x02"s + before + "}U\x05model"s + model + "s.\x80\x02]."s;
  };
  TemporaryFolder folder;
  folder.write("a/mp_rank_00/model_optim_rng.pt", stream("", "}q\x01U\x01xh\x01s"s));
  EXPECT_THAT(refusal(folder.path("a")), HasSubstr("nested deeper"));
  std::string levels = "}q\x00"s + "0";
  for (char level = 1; level < 15; ++level) {
    levels += "}(";
    for (char key = 'a'; key < 'k'; ++key) {
      levels += "U\x01"s + key + "h" + static_cast<char>(level - 1);
    }
    levels += "uq"s + level + "0";
  }
  folder.write("b/mp_rank_00/model_optim_rng.pt", stream(levels, "h\x0e"));
  EXPECT_THAT(refusal(folder.path("b")), HasSubstr("more than 200000 entries"));
  folder.write("c/mp_rank_00/model_optim_rng.pt", stream("", "K\x05"));
  EXPECT_THAT(refusal(folder.path("c")), HasSubstr("holds no 'model'"));
}

TEST(UpstreamNames, AllSpellingsGiveOne) {
  const std::string ours = "decoder.layers.5.self_attention.linear_proj.weight";
  EXPECT_EQ(upstream_name("language_model.transformer.layers.3.attention.dense.weight", 2), ours);
  EXPECT_EQ(upstream_name("language_model.encoder.layers.5.self_attention.dense.weight", 0), ours);
  EXPECT_EQ(upstream_name("module.decoder.layers.5.self_attention.linear_proj.weight", 0), ours);
  EXPECT_EQ(upstream_name("decoder.layers.0.mlp.linear_fc1.layer_norm_bias", 0),
            "decoder.layers.0.pre_mlp_layernorm.bias");
  EXPECT_EQ(upstream_name("language_model.pooler.dense.weight", 0), "pooler.dense.weight");
  EXPECT_EQ(upstream_name("language_model.embedding.tokentype_embeddings.weight", 0),
            "embedding.tokentype_embeddings.weight");
  EXPECT_EQ(upstream_name("decoder.layers.0.mlp.linear_fc1._extra_state", 0), "");
  EXPECT_EQ(upstream_layer("decoder.layers.x.mlp"), -1);
}

}  // namespace
}  // namespace megalith

// A model written without process groups: the format of a run's checkpoint, bits and all.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "checkpoint/sample_tensors.hpp"
#include "megalith/checkpoint/manifest.hpp"
#include "megalith/checkpoint/model_io.hpp"
#include "megalith/checkpoint/save_folder.hpp"
#include "megalith/checkpoint/write_model.hpp"
#include "megalith/core/error.hpp"
#include "support/ranks.hpp"
#include "support/temporary_folder.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using testing::named_bits;
using testing::names_in;
using testing::RankContext;
using testing::run_ranks;
using testing::TemporaryFolder;

ModelSource sample_source() {
  ModelSource source;
  source.origin = "a source of foreign weights";
  source.config.num_layers = 3;
  source.config.hidden_size = 6;
  source.config.num_attention_heads = 2;
  source.config.max_position_embeddings = 8;
  source.config.vocab_size = 10;
  source.iteration = 7;
  source.meta["training"] = {{"consumed_samples", 70}};
  const auto add = [&](const std::string& name, at::ScalarType dtype, std::vector<int64_t> shape) {
    source.tensors.push_back({name, dtype, shape, [=] { return named_bits(name, shape, dtype); }});
  };
  add("embedding.weight", at::kBFloat16, {10, 6});
  add("norm.weight", at::kFloat, {6});
  add("fc.weight", at::kFloat, {16, 6});
  add("empty.weight", at::kFloat, {0, 6});
  add("optimizer.exp_avg.norm.weight", at::kFloat, {6});
  return source;
}

void expect_same_bits(const Checkpoint& checkpoint, const ModelSource& source) {
  for (const auto& tensor : source.tensors) {
    const auto stored = checkpoint.read_global(tensor.name);
    EXPECT_EQ(stored.scalar_type(), tensor.dtype) << tensor.name;
    EXPECT_TRUE(at::equal(as_bits(stored), as_bits(tensor.read()))) << tensor.name;
  }
}

TEST(WriteModel, IsACheckpointLikeThatOfARun) {
  TemporaryFolder folder;
  const auto source = sample_source();
  EXPECT_EQ(write_model(source, folder.path("save")), folder.path("save/iter_0000007"));
  EXPECT_THAT(
      names_in(folder.path("save/iter_0000007")),
      ElementsAre("manifest.json", "model_00000.safetensors", "optimizer_00000.safetensors"));
  EXPECT_EQ(latest_iteration(folder.path("save")), 7);
  const auto checkpoint = Checkpoint::open(folder.path("save"));
  checkpoint.verify_all();
  expect_same_bits(checkpoint, source);
  EXPECT_EQ(checkpoint.names("model").size(), 4U);
  EXPECT_EQ(checkpoint.names("optimizer").size(), 1U);
  EXPECT_EQ(model_config_from(checkpoint).num_layers, 3);
  EXPECT_EQ(checkpoint.meta().at("training").at("consumed_samples"), 70);
}

TEST(WriteModel, FilesHoldWholeTensors) {
  TemporaryFolder folder;
  const auto source = sample_source();
  write_model(source, folder.path("save"), {.num_files = 3});
  EXPECT_THAT(names_in(folder.path("save/iter_0000007")),
              ElementsAre("manifest.json", "model_00000.safetensors", "model_00001.safetensors",
                          "model_00002.safetensors", "optimizer_00000.safetensors"));
  const auto checkpoint = Checkpoint::open(folder.path("save"));
  checkpoint.verify_all();
  expect_same_bits(checkpoint, source);
}

TEST(WriteModel, ConvertsFloatingWeightsAsPyTorchDoes) {
  TemporaryFolder folder;
  auto source = sample_source();
  source.tensors.push_back({"step", at::kLong, {1}, [] { return at::full({1}, 5, at::kLong); }});
  write_model(source, folder.path("save"), {.dtype = at::kHalf});
  const auto checkpoint = Checkpoint::open(folder.path("save"));
  for (const auto& tensor : source.tensors) {
    const auto stored = checkpoint.read_global(tensor.name);
    const bool is_kept = tensor.dtype == at::kLong || tensor.name.starts_with("optimizer.");
    const auto wanted = is_kept ? tensor.read() : tensor.read().to(at::kHalf);
    EXPECT_EQ(stored.scalar_type(), wanted.scalar_type());
    EXPECT_TRUE(at::equal(as_bits(stored), as_bits(wanted))) << tensor.name;
  }
}

/// As the loader of upstream's checkpoints gives them: views into a larger tensor.
TEST(WriteModel, TakesTensorsOfAnyStrides) {
  TemporaryFolder folder;
  ModelSource source;
  const at::Tensor wide = named_bits("wide", {6, 4}, at::kFloat);
  source.tensors.push_back({"w", at::kFloat, {4, 6}, [=] { return wide.t(); }});
  write_model(source, folder.path("save"));
  EXPECT_TRUE(at::equal(as_bits(Checkpoint::open(folder.path("save")).read_global("w")),
                        as_bits(wide).t()));
}

TEST(WriteModel, RefusesAnExistingTargetAndTooManyFilesAtOnce) {
  TemporaryFolder folder;
  write_model(sample_source(), folder.path("save"));
  const auto before = Checkpoint::open(folder.path("save")).manifest().token;
  EXPECT_THAT(error_of<UsageError>(
                  [&] { write_model(sample_source(), folder.path("save"), {.num_files = 5}); }),
              AllOf(HasSubstr("iter_0000007: is there already"), HasSubstr("--num-files 5"),
                    HasSubstr("give 1 to 4")));
  EXPECT_EQ(Checkpoint::open(folder.path("save")).manifest().token, before);
}

TEST(WriteModel, TheLatestIsTheFurthest) {
  TemporaryFolder folder;
  auto source = sample_source();
  write_model(source, folder.path("save"));
  source.iteration = 5;
  write_model(source, folder.path("save"));
  EXPECT_EQ(latest_iteration(folder.path("save")), 7);
  EXPECT_EQ(complete_iterations(folder.path("save")), (std::vector<int64_t>{5, 7}));
}

TEST(WriteModel, RefusesAFolderThatARunHolds) {
  TemporaryFolder folder;
  SaveFolderHold hold;
  hold.take(folder.path("save"), "token");
  EXPECT_THAT(error_of<UsageError>([&] { write_model(sample_source(), folder.path("save")); }),
              HasSubstr(fmt::format("--save {}: is in use by a run on host", folder.path("save"))));
}

TEST(WriteModel, LeavesNothingWhenASourceFails) {
  TemporaryFolder folder;
  auto source = sample_source();
  source.tensors[2].read = []() -> at::Tensor { throw UsageError("shard.bin: truncated"); };
  EXPECT_EQ(error_of<UsageError>([&] { write_model(source, folder.path("save")); }),
            "shard.bin: truncated");
  EXPECT_FALSE(fs::exists(folder.path("save")));
}

TEST(WriteModel, LeavesNothingWhenTheDiskIsFull) {
  TemporaryFolder folder;
  ModelSource source;
  source.tensors.push_back({"w", at::kFloat, {1000, 1000}, [] { return at::zeros({1000, 1000}); }});
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit limit{200'000, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  const auto error = error_of<RunError>([&] { write_model(source, folder.path("save")); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(error, AllOf(HasSubstr("model_00000.safetensors"), HasSubstr("File too large")));
  EXPECT_FALSE(fs::exists(folder.path("save")));
}

/// What a killed conversion left is cleared away by the next.
TEST(WriteModel, ClearsUnfinishedSaves) {
  TemporaryFolder folder;
  folder.write("save/iter_0000007.tmp-0/model_00000.safetensors", "");
  write_model(sample_source(), folder.path("save"));
  EXPECT_TRUE(unfinished_saves(folder.path("save")).empty());
}

}  // namespace
}  // namespace megalith

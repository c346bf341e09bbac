// Saved under one layout and loaded under another, bit for bit; and what a checkpoint refuses.
#include "megalith/checkpoint/checkpoint.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/sample_tensors.hpp"
#include "megalith/checkpoint/manifest.hpp"
#include "megalith/core/error.hpp"
#include "support/ranks.hpp"
#include "support/temporary_folder.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;
using testing::named_bits;
using testing::RankContext;
using testing::run_ranks;
using testing::sample_tensors;
using testing::TemporaryFolder;

const std::vector<Layout> kLayouts = {{.tensor = 1, .data = 1}, {.tensor = 2, .data = 1},
                                      {.tensor = 4, .data = 1}, {.tensor = 1, .data = 2},
                                      {.tensor = 2, .data = 2}, {.tensor = 4, .data = 2}};

void save_sample(const std::string& folder, int64_t iteration, const Layout& layout,
                 int64_t seed = 0) {
  run_ranks(layout, [&](RankContext& context) {
    save_checkpoint(folder, iteration, sample_tensors(context.groups(), true, seed),
                    {{"text", "of the caller"}, {"number", 0.1}}, context.groups());
  });
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && at::equal(as_bits(a), as_bits(b));
}

void expect_sample(const Checkpoint& checkpoint, const ProcessGroups& groups, int64_t seed = 0) {
  const auto expected = sample_tensors(groups, true, seed);
  auto loaded = sample_tensors(groups, false);
  checkpoint.read(loaded);
  for (size_t i = 0; i < loaded.size(); ++i) {
    EXPECT_TRUE(same_bits(loaded[i].local, expected[i].local)) << "tensor " << i;
  }
}

TEST(Checkpoint, AnyLayoutLoadsWhatAnyOtherSavedBitForBit) {
  for (const auto& saved : kLayouts) {
    const TemporaryFolder folder;
    save_sample(folder.path(), 100, saved);
    for (const auto& layout : kLayouts) {
      run_ranks(layout, [&](RankContext& context) {
        const auto checkpoint = Checkpoint::open(folder.path());
        EXPECT_EQ(checkpoint.iteration(), 100);
        EXPECT_EQ(checkpoint.meta().at("text"), "of the caller");
        EXPECT_EQ(checkpoint.meta().at("number"), 0.1);
        expect_sample(checkpoint, context.groups());
      });
    }
  }
}

TEST(Checkpoint, FolderHoldsWhatTheFormatSays) {
  const TemporaryFolder folder;
  save_sample(folder.path(), 7, {.tensor = 1, .data = 1});
  EXPECT_EQ(testing::names_in(folder.path()),
            (std::vector<std::string>{"iter_0000007", "latest_checkpointed_iteration.txt"}));
  EXPECT_EQ(testing::names_in(folder.path("iter_0000007")),
            (std::vector<std::string>{"manifest.json", "model_00000.safetensors",
                                      "optimizer_00000.safetensors"}));
  const SafetensorsFile weights(folder.path("iter_0000007/model_00000.safetensors"));
  EXPECT_EQ(weights.find("embedding.weight")->shape, (std::vector<int64_t>{10, 3}));
  EXPECT_TRUE(same_bits(weights.tensor("attention.key.weight"),
                        named_bits("attention.key.weight", {4, 6}, at::kBFloat16)));
  std::string latest;
  std::getline(std::ifstream(folder.path("latest_checkpointed_iteration.txt")), latest);
  EXPECT_EQ(latest, "7");
}

TEST(Checkpoint, ReplicasShareTheWritingAndNothingIsWrittenTwice) {
  const TemporaryFolder folder;
  save_sample(folder.path(), 1, {.tensor = 2, .data = 2});
  const auto checkpoint = Checkpoint::open(folder.path());
  std::vector<int64_t> bytes(4, 0);
  for (const auto& tensor : checkpoint.manifest().tensors) {
    int64_t stored = 0;
    for (const auto& slice : tensor.slices) stored += slice.num_elements();
    EXPECT_EQ(stored, tensor.num_elements()) << tensor.name;
  }
  std::set<std::string> files;
  for (const auto& file : checkpoint.manifest().files) files.insert(file.name);
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_TRUE(files.contains(fmt::format("optimizer_{:05d}.safetensors", rank))) << rank;
  }
  checkpoint.verify_all();
}

TEST(Checkpoint, ReadsGlobalTensorsAndRows) {
  const TemporaryFolder folder;
  save_sample(folder.path(), 1, {.tensor = 4, .data = 1});
  const auto checkpoint = Checkpoint::open(folder.path());
  const auto expected = named_bits("fc2.weight", {6, 16}, at::kBFloat16);
  EXPECT_TRUE(same_bits(checkpoint.read_global("fc2.weight"), expected));
  EXPECT_TRUE(same_bits(checkpoint.read_rows("fc2.weight", 2, 3), expected.narrow(0, 2, 3)));
  EXPECT_TRUE(checkpoint.has("optimizer.exp_avg.norm.weight"));
  EXPECT_FALSE(checkpoint.has("optimizer.main.norm.weight"));
  EXPECT_EQ(checkpoint.names("model").size(), 10U);
  EXPECT_EQ(checkpoint.names("optimizer").size(), 20U);
}

TEST(Checkpoint, ScalarsEmptyTensorsAndStridesComeBack) {
  const TemporaryFolder folder;
  const at::Tensor scalar = at::scalar_tensor(2.5), empty = at::zeros({0, 4});
  const at::Tensor turned = at::arange(12, at::kLong).reshape({3, 4}).t();
  const auto whole = [](const std::string& name, const at::Tensor& tensor) {
    const auto shape = tensor.sizes().vec();
    return CheckpointTensor{
        "", tensor, {{Box{name, shape, std::vector<int64_t>(shape.size(), 0), shape}}}};
  };
  save_checkpoint(folder.path(), 0, {whole("s", scalar), whole("e", empty), whole("t", turned)}, {},
                  ProcessGroups());
  const auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint.read_global("s").item<float>(), 2.5F);
  EXPECT_EQ(checkpoint.read_global("e").sizes().vec(), (std::vector<int64_t>{0, 4}));
  EXPECT_TRUE(at::equal(checkpoint.read_global("t"), turned));
}

TEST(Checkpoint, LeavesAParameterThatNeedsGradientsALeaf) {
  const TemporaryFolder folder;
  const ProcessGroups groups;
  auto tensors = sample_tensors(groups, true);
  save_checkpoint(folder.path(), 1, tensors, {}, groups);
  at::Tensor weight = at::zeros({6, 16}, at::kBFloat16).set_requires_grad(true);
  const Box box{"fc2.weight", {6, 16}, {0, 0}, {6, 16}};
  Checkpoint::open(folder.path()).read({{"", weight, {{box}}}});
  EXPECT_TRUE(weight.is_leaf() && weight.requires_grad());
  EXPECT_TRUE(same_bits(weight.detach(), named_bits("fc2.weight", {6, 16}, at::kBFloat16)));
}

TEST(Checkpoint, ConvertsTypesOnlyWhenAsked) {
  const TemporaryFolder folder;
  const ProcessGroups groups;
  const Box box{"w", {2, 2}, {0, 0}, {2, 2}};
  const at::Tensor stored = at::rand({2, 2});
  save_checkpoint(folder.path(), 1, {{"", stored, {{box}}}}, {}, groups);
  const auto checkpoint = Checkpoint::open(folder.path());
  const at::Tensor half = at::zeros({2, 2}, at::kBFloat16);
  EXPECT_THAT(error_of<UsageError>([&] {
                checkpoint.read({{"", half, {{box}}}});
              }),
              HasSubstr("'w' is stored as F32, wanted as BF16"));
  EXPECT_EQ(half.sum().item<float>(), 0.0F);
  checkpoint.read({{"", half, {{box}}}}, Checkpoint::DtypeMismatch::kConvert);
  EXPECT_TRUE(at::equal(half, stored.to(at::kBFloat16)));
}

TEST(Checkpoint, LaterSavesMoveTheLatestAndTheSameIterationIsReplaced) {
  const TemporaryFolder folder;
  const ProcessGroups groups;
  save_sample(folder.path(), 10, {.tensor = 2, .data = 1}, 1);
  save_sample(folder.path(), 20, {.tensor = 1, .data = 1}, 2);
  save_sample(folder.path(), 20, {.tensor = 2, .data = 2}, 3);
  EXPECT_EQ(latest_iteration(folder.path()), 20);
  EXPECT_EQ(complete_iterations(folder.path()), (std::vector<int64_t>{10, 20}));
  EXPECT_TRUE(unfinished_saves(folder.path()).empty());
  expect_sample(Checkpoint::open(folder.path()), groups, 3);
  expect_sample(Checkpoint::open(folder.path(), 10), groups, 1);
  expect_sample(Checkpoint::open(folder.path("iter_0000010")), groups, 1);
}

TEST(Checkpoint, ListsEverythingThatDoesNotFitAndLoadsNothing) {
  const TemporaryFolder folder;
  const ProcessGroups groups;
  save_sample(folder.path(), 1, {.tensor = 2, .data = 1});
  auto tensors = sample_tensors(groups, false);
  tensors.push_back({"optimizer.main.", at::zeros({6}), {{Box{"norm.weight", {6}, {0}, {6}}}}});
  tensors.push_back({"", at::zeros({7}, at::kBFloat16), {{Box{"norm.weight", {7}, {0}, {7}}}}});
  const auto message = error_of<UsageError>([&] { Checkpoint::open(folder.path()).read(tensors); });
  EXPECT_THAT(message,
              AllOf(HasSubstr("iter_0000001"), HasSubstr("no tensor 'optimizer.main.norm.weight'"),
                    HasSubstr("'norm.weight' has shape [6], the model wants [7]")));
  for (const auto& tensor : tensors) {
    EXPECT_FALSE(
        tensor.local.ne(testing::kUntouched).logical_and(tensor.local.ne(0)).any().item<bool>());
  }
}

// --- damaged, foreign and missing files

class DamagedCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override { save_sample(folder_.path(), 5, {.tensor = 2, .data = 1}); }
  std::string file(const std::string& name) const { return folder_.path("iter_0000005/" + name); }
  void flip_bit(const std::string& name, int64_t offset, std::ios::seekdir from) const {
    std::fstream stream(file(name), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(offset, from);
    const auto place = stream.tellg();
    const int byte = stream.get();
    stream.seekp(place);
    stream.put(static_cast<char>(byte ^ 4));
  }
  /// The refusal; checks that nothing was loaded.
  std::string refusal(bool verify = true) const {
    auto tensors = sample_tensors(groups_, false);
    const auto message = error_of<UsageError>(
        [&] { Checkpoint::open(folder_.path(), std::nullopt, verify).read(tensors); });
    for (const auto& tensor : tensors) {
      EXPECT_TRUE(tensor.local.eq(testing::kUntouched).all().item<bool>());
    }
    return message;
  }
  TemporaryFolder folder_;
  ProcessGroups groups_;
};

TEST_F(DamagedCheckpoint, FlippedBitIsFoundByChecksum) {
  flip_bit("optimizer_00001.safetensors", -1, std::ios::end);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("optimizer_00001.safetensors: damaged"),
                               HasSubstr("checksum of 'optimizer.exp_avg")));
  const auto checkpoint = Checkpoint::open(folder_.path(), std::nullopt, false);
  checkpoint.check_files();
  EXPECT_THROW(checkpoint.verify_all(), UsageError);
}

TEST_F(DamagedCheckpoint, FlippedBitInAHeaderIsFoundWithoutVerify) {
  for (const int64_t offset : {1, 20, 60}) {
    flip_bit("model_00001.safetensors", offset, std::ios::beg);
    EXPECT_THAT(refusal(false), HasSubstr("model_00001.safetensors")) << offset;
    flip_bit("model_00001.safetensors", offset, std::ios::beg);
  }
}

TEST_F(DamagedCheckpoint, TruncatedFileIsNamed) {
  for (const int64_t missing : {1, 100}) {
    const auto path = file("optimizer_00000.safetensors");
    fs::resize_file(path, fs::file_size(path) - static_cast<uintmax_t>(missing));
    EXPECT_THAT(refusal(false), HasSubstr("optimizer_00000.safetensors: truncated: has"));
  }
}

TEST_F(DamagedCheckpoint, FileOfAnotherSaveIsForeign) {
  const TemporaryFolder other;
  save_sample(other.path(), 5, {.tensor = 2, .data = 1});
  fs::copy_file(other.path("iter_0000005/model_00001.safetensors"), file("model_00001.safetensors"),
                fs::copy_options::overwrite_existing);
  EXPECT_THAT(refusal(false), HasSubstr("model_00001.safetensors: foreign"));
}

TEST_F(DamagedCheckpoint, MissingFileIsNamed) {
  fs::remove(file("model_00000.safetensors"));
  EXPECT_THAT(refusal(), HasSubstr("model_00000.safetensors: cannot be read"));
}

TEST_F(DamagedCheckpoint, ManifestIsGuarded) {
  const auto path = file("manifest.json");
  const std::string text = read_text_file(path);
  const auto rewrite = [&](const std::string& changed) {
    std::ofstream(path, std::ios::binary) << changed;
    return refusal();
  };
  std::string edited = text;
  edited.replace(edited.find("\"iteration\": 5"), 14, "\"iteration\": 6");
  EXPECT_THAT(rewrite(edited), HasSubstr("manifest.json: damaged or edited"));
  EXPECT_THAT(rewrite(text.substr(0, text.size() / 2)), HasSubstr("truncated or damaged"));
  EXPECT_THAT(rewrite(""), HasSubstr("truncated or damaged"));
  EXPECT_THAT(rewrite("{}"), HasSubstr("is not the manifest of a megalith checkpoint"));
}

}  // namespace
}  // namespace megalith

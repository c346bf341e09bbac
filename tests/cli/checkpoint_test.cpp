// megalith checkpoint inspect, list and diff on small checkpoints, by their output.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "checkpoint/sample_tensors.hpp"
#include "cli/commands.hpp"
#include "megalith/core/error.hpp"
#include "support/ranks.hpp"
#include "support/temporary_folder.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::RankContext;
using testing::run_ranks;
using testing::sample_tensors;
using testing::TemporaryFolder;

std::string output_of(const cli::Words& words) {
  ::testing::internal::CaptureStdout();
  const int status = cli::run_checkpoint(words);
  const std::string text = ::testing::internal::GetCapturedStdout();
  EXPECT_EQ(status, 0);
  return text;
}

void save_sample(const std::string& folder, int64_t iteration, const Layout& layout,
                 const nlohmann::json& meta) {
  run_ranks(layout, [&](RankContext& context) {
    save_checkpoint(folder, iteration, sample_tensors(context.groups(), true), meta,
                    context.groups());
  });
}

class CheckpointCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    save_sample(folder_.path("a"), 10, {.tensor = 2, .data = 2}, {{"model", {{"num-layers", 2}}}});
  }
  TemporaryFolder folder_;
};

TEST_F(CheckpointCommand, InspectSaysWhatItIs) {
  const auto text = output_of({"inspect", folder_.path("a"), "--verify"});
  EXPECT_THAT(text, AllOf(HasSubstr("megalith checkpoint of iteration 10"),
                          HasSubstr("4 ranks: tensor 2 x data 2"), HasSubstr("model.num-layers  2"),
                          HasSubstr("every byte is as it was written")));
  EXPECT_THAT(text, ::testing::ContainsRegex("attention.key.weight +BF16  \\[4, 6\\] in 2 slices"));
}

TEST_F(CheckpointCommand, InspectAsJson) {
  const auto report =
      nlohmann::json::parse(output_of({"inspect", "--json", folder_.path("a/iter_0000010")}));
  EXPECT_EQ(report.at("iteration"), 10);
  EXPECT_EQ(report.at("layout").at("tensor"), 2);
  EXPECT_EQ(report.at("checksums_verified"), false);
  EXPECT_EQ(report.at("meta").at("model").at("num-layers"), 2);
  EXPECT_EQ(report.at("kinds").at("model").at("elements"), 30 + 6 + 96 + 16 + 96 + 96);
  EXPECT_EQ(report.at("tensors").size(), 30U);
}

TEST_F(CheckpointCommand, InspectRefusesATruncatedFile) {
  fs::resize_file(folder_.path("a/iter_0000010/model_00001.safetensors"), 100);
  EXPECT_THAT(error_of<UsageError>([&] {
                cli::run_checkpoint({"inspect", folder_.path("a")});
              }),
              HasSubstr("model_00001.safetensors: truncated"));
}

TEST_F(CheckpointCommand, ListShowsCompleteAndUnfinished) {
  save_sample(folder_.path("a"), 20, {.tensor = 1, .data = 1}, {});
  folder_.write("a/iter_0000030.tmp-0/model_00000.safetensors", "");
  const auto text = output_of({"list", folder_.path("a")});
  EXPECT_THAT(text, ::testing::ContainsRegex("10 .* tensor 2 x data 2\n"));
  EXPECT_THAT(text, ::testing::ContainsRegex("20 .* tensor 1 x data 1  \\(latest\\)\n"));
  EXPECT_THAT(text, HasSubstr("iter_0000030.tmp-0: not complete"));
}

TEST_F(CheckpointCommand, ListGoesOnPastADamagedCheckpoint) {
  save_sample(folder_.path("a"), 20, {.tensor = 1, .data = 1}, {});
  fs::resize_file(folder_.path("a/iter_0000010/model_00001.safetensors"), 100);
  folder_.write("a/latest_checkpointed_iteration.txt", "soon");
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(cli::run_checkpoint({"list", folder_.path("a")}), 2);
  const std::string text = ::testing::internal::GetCapturedStdout();
  EXPECT_THAT(text, AllOf(HasSubstr("10  not usable\n"), HasSubstr("20  "),
                          HasSubstr("model_00001.safetensors: truncated"),
                          HasSubstr("says 'soon', expected the number of an iteration")));
}

TEST_F(CheckpointCommand, DiffOfTheSameTensorsUnderOtherLayouts) {
  save_sample(folder_.path("b"), 10, {.tensor = 4, .data = 1}, {{"model", {{"num-layers", 3}}}});
  const auto text = output_of({"diff", folder_.path("a"), folder_.path("b")});
  EXPECT_THAT(text,
              AllOf(HasSubstr("30 of 30 bit-identical"), HasSubstr("model.num-layers: 2 -> 3")));
}

TEST_F(CheckpointCommand, DiffNamesTheLargestDifference) {
  const auto save = [&](const std::string& name, const at::Tensor& w, const std::string& other) {
    const Box box{"w", {3}, {0}, {3}}, more{other, {3}, {0}, {3}};
    save_checkpoint(folder_.path(name), 1, {{"", w, {{box}}}, {"", at::zeros({3}), {{more}}}}, {},
                    ProcessGroups());
  };
  save("x", at::tensor({1.0, 2.0, -4.0}, at::kFloat), "only_x");
  save("y", at::tensor({1.0, 2.5, -3.0}, at::kFloat), "only_y");
  const auto text = output_of({"diff", folder_.path("x"), folder_.path("y")});
  EXPECT_THAT(text, ::testing::ContainsRegex("w +absolute 1, relative 0.25, 2 of 3 differ"));
  EXPECT_THAT(text, ::testing::ContainsRegex("only_x +only in A"));
  EXPECT_THAT(text, ::testing::ContainsRegex("only_y +only in B"));
  EXPECT_THAT(text, AllOf(HasSubstr("0 of 3 bit-identical"), HasSubstr("Configuration: the same")));
}

TEST_F(CheckpointCommand, UnknownCommandNamesTheNearest) {
  EXPECT_THAT(error_of<UsageError>([&] {
                cli::run_checkpoint({"inspct", "x"});
              }),
              HasSubstr("did you mean inspect?"));
}

}  // namespace
}  // namespace megalith

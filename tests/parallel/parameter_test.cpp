// Parameters are born as slices: for every tensor size the slices are those of the same whole.
#include "megalith/parallel/parameter.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "megalith/parallel/random.hpp"
#include "support/global_tensors.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

ParameterList build(int64_t tensor_rank, int64_t tensor_size, at::ScalarType dtype = at::kDouble) {
  ParameterList list;
  const ParameterBuilder root(list, dtype, at::kCPU, 7, tensor_rank, tensor_size);
  root.vocabulary("embedding", 45, 48, 6, Init::normal(1.0));
  const auto layer = root.scope("layers").scope("3");
  layer.fused("qkv.weight", {{"query.weight", 16}, {"key.weight", 8}, {"value.weight", 8}}, 6,
              Init::normal(1.0), true);
  layer.fused("qkv.bias", {{"query.bias", 16}, {"key.bias", 8}, {"value.bias", 8}}, -1,
              Init::normal(1.0), false);
  layer.split("rows", {12, 5}, 0, Init::normal(1.0), true);
  layer.split("columns", {5, 12}, 1, Init::normal(1.0), true);
  layer.replicated("norm", {6}, Init::ones(), false);
  layer.replicated("bias", {6}, Init::zeros(), false);
  return list;
}

TensorMap assembled(int64_t tensor_size, at::ScalarType dtype = at::kDouble) {
  GlobalTensors globals;
  for (int64_t rank = 0; rank < tensor_size; ++rank) {
    globals.add_values(build(rank, tensor_size, dtype));
  }
  return globals.take();
}

TEST(Parameters, SlicesOfEveryTensorSizeMakeTheSameWhole) {
  const TensorMap one = assembled(1);
  for (const int64_t size : {2, 4}) expect_equal_maps(assembled(size), one);
  at::Tensor query = at::empty({16, 6}, at::kDouble);
  fill_normal(query, {"layers.3.query.weight", {16, 6}, {0, 0}, {16, 6}}, 7, 1.0);
  expect_equal(one.at("layers.3.query.weight"), query);
  EXPECT_EQ(one.at("embedding").size(0), 45);
}

TEST(Parameters, NamesShapesAndFlags) {
  const ParameterList list = build(1, 4);
  const std::vector<std::string> names{"embedding",     "layers.3.qkv.weight", "layers.3.qkv.bias",
                                       "layers.3.rows", "layers.3.columns",    "layers.3.norm",
                                       "layers.3.bias"};
  const std::vector<std::vector<int64_t>> shapes{{12, 6}, {8, 6}, {8}, {3, 5}, {5, 3}, {6}, {6}};
  ASSERT_EQ(list.size(), names.size());
  for (size_t i = 0; i < list.size(); ++i) {
    EXPECT_EQ(list[i].name, names[i]);
    EXPECT_EQ(list[i].value.sizes(), at::IntArrayRef(shapes[i])) << names[i];
    EXPECT_EQ(list[i].shard.replicated, i >= 5) << names[i];
    EXPECT_TRUE(list[i].value.requires_grad() && list[i].value.is_leaf()) << names[i];
  }
  const auto& boxes = list[1].shard.boxes;
  ASSERT_EQ(boxes.size(), 3u);
  EXPECT_EQ(boxes[0], (Box{"layers.3.query.weight", {16, 6}, {4, 0}, {4, 6}, 0}));
  EXPECT_EQ(boxes[1], (Box{"layers.3.key.weight", {8, 6}, {2, 0}, {2, 6}, 4}));
  EXPECT_EQ(boxes[2], (Box{"layers.3.value.weight", {8, 6}, {2, 0}, {2, 6}, 6}));
}

TEST(Parameters, VocabularyPaddingIsZeroAndInNoBox) {
  const ParameterList last = build(3, 4);
  EXPECT_EQ(last[0].shard.boxes.at(0), (Box{"embedding", {45, 6}, {36, 0}, {9, 6}}));
  EXPECT_EQ(last[0].value.detach().narrow(0, 9, 3).abs().max().item<double>(), 0);
  ParameterList list;
  ParameterBuilder(list, at::kFloat, at::kCPU, 1, 1, 2).vocabulary("w", 5, 16, 2, Init::ones());
  EXPECT_TRUE(list[0].shard.boxes.empty());
  EXPECT_EQ(list[0].value.abs().max().item<double>(), 0);
}

TEST(Parameters, SizesThatDoNotDivideAreRefused) {
  ParameterList list;
  const ParameterBuilder builder(list, at::kFloat, at::kCPU, 1, 0, 4);
  EXPECT_THROW(builder.split("w", {6, 4}, 0, Init::zeros(), true), c10::Error);
  EXPECT_THROW(builder.fused("w", {{"a", 6}}, 4, Init::zeros(), true), c10::Error);
  EXPECT_THROW(builder.vocabulary("w", 5, 6, 4, Init::zeros()), c10::Error);
}

}  // namespace
}  // namespace megalith::testing

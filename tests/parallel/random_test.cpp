// Randomness: initial weights by (seed, name, element), and streams by key.
//
// Golden values: tests/oracles/philox_init.py, an implementation of its own in Python integers.
#include "megalith/parallel/random.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "support/golden.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

at::Tensor filled(const Box& box, int64_t seed, double std, at::ScalarType dtype = at::kDouble) {
  at::Tensor local = at::empty(box.length, dtype);
  fill_normal(local, box, seed, std);
  return local;
}

Box whole(const std::string& name, std::vector<int64_t> shape) {
  return {name, shape, std::vector<int64_t>(shape.size(), 0), shape};
}

TEST(Random, NormalsEqualTheOracle) {
  const auto golden = read_golden_json("philox_init.json");
  for (const auto& row : golden.at("normals")) {
    const int64_t index = row.at("index").get<int64_t>();
    // One element of a vector that is too long to exist: counters go beyond 32 bits.
    const Box box{row.at("name").get<std::string>(), {index + 1}, {index}, {1}};
    const double value =
        filled(box, row.at("seed").get<int64_t>(), golden.at("std")).item<double>();
    EXPECT_NEAR(value, row.at("value").get<double>(), 1e-16) << row;
  }
}

TEST(Random, MixedKeysEqualTheOracle) {
  const auto golden = read_golden_json("philox_init.json");
  for (const auto& row : golden.at("keys")) {
    std::vector<int64_t> words = row.at("words").get<std::vector<int64_t>>();
    const auto check = [&](std::initializer_list<int64_t> list) {
      EXPECT_EQ(mix_key(list), row.at("key").get<uint64_t>()) << row;
      EXPECT_EQ(keyed_uniform(list), row.at("uniform").get<double>()) << row;
    };
    if (words.empty()) check({});
    if (words.size() == 1) check({words[0]});
    if (words.size() == 3) check({words[0], words[1], words[2]});
  }
}

/// Mean, variance, skewness and kurtosis within five standard errors; Kolmogorov and Smirnov's
/// distance below its 0.1 % point 1.95 / sqrt(n).
TEST(Random, NormalsAreNormal) {
  const at::Tensor x = filled(whole("w", {1000, 200}), 42, 1.0).view({-1});
  const double n = static_cast<double>(x.numel());
  EXPECT_NEAR(x.mean().item<double>(), 0, 5 / std::sqrt(n));
  EXPECT_NEAR(x.square().mean().item<double>(), 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(x.pow(3).mean().item<double>(), 0, 5 * std::sqrt(15 / n));
  EXPECT_NEAR(x.pow(4).mean().item<double>(), 3, 5 * std::sqrt(96 / n));
  const at::Tensor sorted = std::get<0>(x.sort());
  const at::Tensor distribution = at::erfc(-sorted / std::sqrt(2.0)) / 2;
  const at::Tensor rank = at::arange(x.numel(), at::kDouble) + 0.5;
  EXPECT_LT((distribution - rank / n).abs().max().item<double>(), 1.95 / std::sqrt(n));
  // Neighbours, also the pair of one Box-Muller draw, are not correlated.
  for (const int64_t lag : {1, 2, 3, 4, 200}) {
    const auto length = x.numel() - lag;
    EXPECT_NEAR((x.narrow(0, 0, length) * x.narrow(0, lag, length)).mean().item<double>(), 0,
                5 / std::sqrt(n));
  }
}

TEST(Random, EverySliceEqualsTheSliceOfTheWhole) {
  for (const auto& shape : {std::vector<int64_t>{6, 10}, {12}, {5, 3, 4}, {7, 1}}) {
    for (const auto dtype : {at::kDouble, at::kFloat}) {
      const at::Tensor all = filled(whole("w", shape), 3, 0.5, dtype);
      for (size_t dim = 0; dim < shape.size(); ++dim) {
        for (int64_t first = 0; first < shape[dim]; ++first) {
          for (int64_t last = first + 1; last <= shape[dim]; ++last) {
            Box box = whole("w", shape);
            box.offset[dim] = first;
            box.length[dim] = last - first;
            expect_equal(filled(box, 3, 0.5, dtype),
                         all.narrow(static_cast<int64_t>(dim), first, last - first));
          }
        }
      }
    }
  }
}

TEST(Random, InnerBoxEqualsTheSliceOfTheWhole) {
  const at::Tensor all = filled(whole("w", {8, 9, 10}), 3, 1.0);
  const Box box{"w", {8, 9, 10}, {2, 3, 5}, {4, 5, 3}};
  expect_equal(filled(box, 3, 1.0), all.narrow(0, 2, 4).narrow(1, 3, 5).narrow(2, 5, 3));
}

/// Boxes large enough to be shared among threads.
TEST(Random, NumberOfThreadsDoesNotMatter) {
  const Box box{"w", {700, 1501}, {0, 1}, {700, 1500}};
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = filled(box, 3, 1.0, at::kFloat);
  at::set_num_threads(4);
  const at::Tensor four = filled(box, 3, 1.0, at::kFloat);
  at::set_num_threads(before);
  expect_equal(four, one);
}

TEST(Random, NarrowTypesRoundTheFloats) {
  const Box box = whole("w", {64, 3});
  const at::Tensor exact = filled(box, 1, 0.02, at::kFloat);
  expect_equal(exact, filled(box, 1, 0.02).to(at::kFloat));
  expect_equal(filled(box, 1, 0.02, at::kBFloat16), exact.to(at::kBFloat16));
  expect_equal(filled(box, 1, 0.02, at::kHalf), exact.to(at::kHalf));
}

TEST(Random, StreamsDifferExactlyWhereTheirKeysDo) {
  const auto draw = [](at::Generator generator) {
    return at::empty({64}, at::kDouble).uniform_(0, 1, std::move(generator));
  };
  const auto shared = [&](const StepKey& key, int64_t layer, RandomSite site) {
    return draw(shared_generator(key, layer, site, at::kCPU));
  };
  const StepKey base{1, 2, 3, 4, 5};
  const auto site = RandomSite::kAttentionOutput;
  const at::Tensor expected = shared(base, 6, site);
  expect_equal(shared(base, 6, site), expected, "the same key twice");
  StepKey key = base;
  key.tensor_rank = 0;
  expect_equal(shared(key, 6, site), expected, "another tensor rank");

  std::vector<at::Tensor> others{draw(own_generator(base, 6, site, at::kCPU)),
                                 draw(own_generator(key, 6, site, at::kCPU)), shared(base, 7, site),
                                 shared(base, 6, RandomSite::kMlpOutput)};
  for (int64_t StepKey::*word :
       {&StepKey::seed, &StepKey::iteration, &StepKey::micro_batch, &StepKey::data_rank}) {
    key = base;
    key.*word += 1;
    others.push_back(shared(key, 6, site));
  }
  others.push_back(expected);
  for (size_t i = 0; i < others.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_FALSE(at::equal(others[i], others[j])) << i << " " << j;
  }
}

/// The order of the words matters, so neighbouring runs share no streams.
TEST(Random, KeysOfSmallWordsDoNotCollide) {
  std::set<uint64_t> keys;
  for (int64_t a = 0; a < 20; ++a) {
    for (int64_t b = 0; b < 20; ++b) {
      for (int64_t c = 0; c < 20; ++c) keys.insert(mix_key({a, b, c}));
    }
  }
  EXPECT_EQ(keys.size(), 8000u);
}

TEST(Random, UniformsAreUniform) {
  std::vector<double> values;
  for (int64_t i = 0; i < 20000; ++i) values.push_back(keyed_uniform({9, i}));
  std::sort(values.begin(), values.end());
  double distance = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    distance = std::max(distance, std::abs(values[i] - (double(i) + 0.5) / 20000));
  }
  EXPECT_GE(values.front(), 0.0);
  EXPECT_LT(values.back(), 1.0);
  EXPECT_LT(distance, 1.95 / std::sqrt(20000.0));
}

}  // namespace
}  // namespace megalith::testing

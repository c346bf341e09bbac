#include "megalith/data/numpy_random.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/data/golden_json.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

using testing::golden;
using testing::Json;

std::vector<uint32_t> shuffled(RandomState random, size_t count) {
  std::vector<uint32_t> values(count);
  std::iota(values.begin(), values.end(), 0U);
  random.shuffle(std::span(values));
  return values;
}

/// One step of a golden "mixed" sequence: ["randint_1_6", 2], ["random", 0.5], …
void expect_step(RandomState& random, const Json& step, const std::vector<double>& p3) {
  const auto name = step[0].get<std::string>();
  long low = 0, high = 0;
  size_t count = 0;
  if (name == "random") {
    EXPECT_EQ(random.random(), step[1].get<double>());
  } else if (name == "choice_p3") {
    EXPECT_EQ(random.choice(p3) + 1, step[1].get<int64_t>());
  } else if (name == "geometric_0.2") {
    EXPECT_EQ(random.geometric(0.2), step[1].get<int64_t>());
  } else if (std::sscanf(name.c_str(), "randint_%ld_%ld", &low, &high) == 2) {
    EXPECT_EQ(random.randint(low, high), step[1].get<int64_t>());
  } else if (std::sscanf(name.c_str(), "shuffle_list_%zu", &count) == 1 ||
             std::sscanf(name.c_str(), "shuffle_array_%zu", &count) == 1) {
    std::vector<int64_t> values(count);
    std::iota(values.begin(), values.end(), 0);
    random.shuffle(std::span(values));
    EXPECT_EQ(values, step[1].get<std::vector<int64_t>>());
  } else {
    FAIL() << name;
  }
}

void expect_field(int64_t seed, const std::string& name, const Json& value,
                  const std::vector<double>& p3) {
  RandomState random(seed);
  if (name == "raw_u32") {
    for (const auto& number : value) EXPECT_EQ(random.next_u32(), number.get<uint32_t>());
  } else if (name == "shuffle_1000" || name == "shuffle_100000") {
    testing::expect_array(IntegerArray(shuffled(random, value.at("shape")[0])), value);
  } else if (name == "shuffle_10" || name == "shuffle_list_10") {
    EXPECT_EQ(shuffled(random, 10), value.get<std::vector<uint32_t>>());
  } else if (name == "mixed") {
    for (const auto& step : value) expect_step(random, step, p3);
  } else {
    for (const auto& number : value) expect_step(random, Json::array({name, number}), p3);
  }
}

TEST(RandomState, GivesTheStreamsOfNumpy) {
  const Json file = golden("numpy_random.json");
  const auto p3 = file.at("p3").get<std::vector<double>>();
  ASSERT_EQ(file.at("cases").size(), 6U);
  for (const auto& row : file.at("cases")) {
    const auto seed = row.at("seed").get<int64_t>();
    for (const auto& [name, value] : row.items()) {
      SCOPED_TRACE(std::to_string(seed) + " " + name);
      if (name != "seed") expect_field(seed, name, value, p3);
    }
  }
}

TEST(RandomState, RefusesSeedsThatNumpyRefuses) {
  EXPECT_THROW(RandomState(-1), UsageError);
  EXPECT_THROW(RandomState(int64_t{1} << 32), UsageError);
  EXPECT_NO_THROW(RandomState((int64_t{1} << 32) - 1));
}

TEST(RandomState, RefusesAnEmptyInterval) {
  EXPECT_THROW(RandomState(1).randint(3, 3), std::invalid_argument);
}

}  // namespace
}  // namespace megalith

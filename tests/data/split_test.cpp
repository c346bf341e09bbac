#include "megalith/data/split.hpp"

#include <gtest/gtest.h>

#include "tests/data/golden_json.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

using testing::golden;
using testing::Json;

TEST(Split, FractionsBoundsAndRangesAreUpstreams) {
  const Json file = golden("split.json");
  ASSERT_EQ(file.at("cases").size(), 18U);
  for (const auto& row : file.at("cases")) {
    const auto text = row.at("split").get<std::string>();
    SCOPED_TRACE(text);
    const auto fractions = parse_split(text);
    EXPECT_EQ(std::vector<double>(fractions.begin(), fractions.end()),
              row.at("vector").get<std::vector<double>>());
    const SplitMatrix matrix = split_matrix(fractions);
    for (size_t i = 0; i < 3; ++i) {
      const Json& bounds = row.at("matrix")[i];
      ASSERT_EQ(matrix[i].has_value(), !bounds.is_null());
      if (!matrix[i]) continue;
      EXPECT_EQ(matrix[i]->first, bounds[0].get<double>());
      EXPECT_EQ(matrix[i]->second, bounds[1].get<double>());
      for (const auto& element : row.at("ranges")) {
        const Interval range = split_interval(*matrix[i], element.at("count"));
        EXPECT_EQ(range.first, element.at("ranges")[i][0].get<int64_t>());
        EXPECT_EQ(range.second, element.at("ranges")[i][1].get<int64_t>());
      }
    }
  }
}

TEST(Split, RefusesWhatUpstreamTurnsIntoNanOrAnException) {
  for (const char* text :
       {"1,2,3,4", "0,0,0", "", "nan", "1..2,3", ".", "a,b,c", "-1", "8,-1,1", "8, -1"}) {
    EXPECT_THROW(parse_split(text), UsageError) << text;
  }
  EXPECT_THROW(parse_split(std::string(400, '9')), UsageError);
}

TEST(Split, SumsInNumpysOrder) {
  // repr(numpy.sum(numpy.full(n, 0.1))) and repr(numpy.sum(1 / numpy.arange(1, n + 1))), NumPy 2.
  EXPECT_EQ(numpy_sum(std::vector<double>(8, 0.1)), 0.8);
  EXPECT_EQ(numpy_sum(std::vector<double>(130, 0.1)), 12.999999999999998);
  EXPECT_EQ(numpy_sum(std::vector<double>(1001, 0.1)), 100.10000000000002);
  const auto harmonic = [](int64_t n) {
    std::vector<double> terms;
    for (int64_t i = 1; i <= n; ++i) terms.push_back(1 / static_cast<double>(i));
    return numpy_sum(terms);
  };
  EXPECT_EQ(harmonic(130), 5.4485913382659765);
  EXPECT_EQ(harmonic(300), 6.282663880299504);
  EXPECT_EQ(harmonic(1001), 7.486469861549347);
}

}  // namespace
}  // namespace megalith

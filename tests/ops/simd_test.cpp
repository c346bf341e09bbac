// The scalar functions of the vector loops, over the whole range of floats.
#include "megalith/ops/simd.hpp"

#include <ATen/core/PhiloxRNGEngine.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "megalith/ops/dropout_mask.hpp"

namespace megalith::testing {
namespace {

TEST(Simd, ExponentialIsWithinTwoUnitsInTheLastPlace) {
  double worst = 0;
  for (float x = -87.2f; x < 88.7f; x += 0.00137f) {
    const double exact = std::exp(static_cast<double>(x));
    const float rounded = static_cast<float>(exact);
    const double unit = std::nextafter(rounded, HUGE_VALF) - static_cast<double>(rounded);
    worst = std::max(worst, std::abs(static_cast<double>(ops::exponential(x)) - exact) / unit);
  }
  EXPECT_LT(worst, 2.0);
  EXPECT_EQ(ops::exponential(0.0f), 1.0f);
}

TEST(Simd, ExponentialOfTheUnusual) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(ops::exponential(-infinity), 0.0f);
  EXPECT_EQ(ops::exponential(-200.0f), 0.0f);
  EXPECT_EQ(ops::exponential(100.0f), infinity);
  EXPECT_EQ(ops::exponential(infinity), infinity);
  EXPECT_TRUE(std::isnan(ops::exponential(std::numeric_limits<float>::quiet_NaN())));
}

TEST(Simd, Bfloat16RoundsToNearestEven) {
  for (const float value : {1.0f, -3.1415926f, 1.00390625f, 1.01171875f, 3.4e38f, -0.0f, 1e-39f,
                            std::numeric_limits<float>::infinity()}) {
    c10::BFloat16 stored;
    ops::store(&stored, value);
    EXPECT_EQ(stored.x, c10::BFloat16(value).x) << value;
    EXPECT_EQ(ops::load(&stored), static_cast<float>(c10::BFloat16(value))) << value;
  }
  c10::BFloat16 stored;
  ops::store(&stored, std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(std::isnan(static_cast<float>(stored)));
}

/// Against PyTorch's own engine.
TEST(Simd, MaskIsDrawnByPhilox) {
  for (const uint64_t block : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 40}) {
    for (const double probability : {0.0, 0.1, 0.5, 0.9}) {
      const auto mask = ops::DropoutMask::of(probability, 0x0123456789abcdefULL);
      float factors[64];
      ops::mask_factors(mask, block, factors);
      for (int64_t lane = 0; lane < 16; ++lane) {
        at::Philox4_32 reference(0x0123456789abcdefULL, 0, block * 16 + lane);
        for (int64_t word = 0; word < 4; ++word) {
          const bool stays = reference() < mask.threshold;
          EXPECT_EQ(factors[16 * word + lane], stays ? mask.scale : 0.0f)
              << "block " << block << " lane " << lane << " word " << word;
        }
      }
    }
  }
}

}  // namespace
}  // namespace megalith::testing

// Norms, activations, dropout and rotary positions against their formulas and finite differences.
#include "megalith/ops/elementwise.hpp"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

at::Tensor leaf(std::vector<int64_t> shape, uint64_t seed) {
  return normal(std::move(shape), seed).set_requires_grad(true);
}

at::Generator seeded(uint64_t seed) { return at::make_generator<at::CPUGeneratorImpl>(seed); }

at::Tensor mapped(const at::Tensor& x, const std::function<double(double)>& function) {
  at::Tensor y = x.detach().clone();
  double* const values = y.mutable_data_ptr<double>();
  for (int64_t i = 0; i < y.numel(); ++i) values[i] = function(values[i]);
  return y;
}

TEST(Norms, EqualTheirFormulas) {
  const at::Tensor x = normal({3, 2, 7}, 1) * 3 + 1, weight = normal({7}, 2), bias = normal({7}, 3);
  const at::Tensor centred = x - x.mean(-1, true);
  const at::Tensor variance = centred.square().mean(-1, true);
  expect_close(ops::layer_norm(x, weight, bias, 1e-5),
               centred / (variance + 1e-5).sqrt() * weight + bias, 1e-13);
  expect_close(ops::rms_norm(x, weight, 1e-5),
               x / (x.square().mean(-1, true) + 1e-5).sqrt() * weight, 1e-13);
}

TEST(Norms, EpsilonIsInsideTheRoot) {
  const at::Tensor x = normal({2, 4}, 1) * 1e-3, one = at::ones({4}, at::kDouble);
  const at::Tensor expected = x / (x.square().mean(-1, true) + 0.25).sqrt();
  expect_close_relative(ops::rms_norm(x, one, 0.25), expected, 1e-12);
}

TEST(Norms, GradientsEqualFiniteDifferences) {
  const auto layer = [](const auto& in) { return ops::layer_norm(in[0], in[1], in[2], 1e-5); };
  expect_gradients(layer, {leaf({2, 3, 5}, 1), leaf({5}, 2), leaf({5}, 3)});
  const auto rms = [](const auto& in) { return ops::rms_norm(in[0], in[1], 1e-5); };
  expect_gradients(rms, {leaf({2, 3, 5}, 1), leaf({5}, 2)});
}

/// bf16 in, bf16 out, statistics in fp32: within half a bf16 step of the exact result.
TEST(Norms, KeepStatisticsInSinglePrecision) {
  const at::Tensor x = (normal({4, 512}, 1) * 0.1 + 10).to(at::kBFloat16);
  const at::Tensor weight = at::ones({512}, at::kBFloat16), bias = at::zeros({512}, at::kBFloat16);
  const at::Tensor exact = x.to(at::kDouble);
  const at::Tensor centred = exact - exact.mean(-1, true);
  const at::Tensor expected = centred / (centred.square().mean(-1, true) + 1e-5).sqrt();
  const at::Tensor norm = ops::layer_norm(x, weight, bias, 1e-5);
  EXPECT_EQ(norm.scalar_type(), at::kBFloat16);
  expect_close_relative(norm, expected, 0x1p-8);
  EXPECT_EQ(ops::rms_norm(x, weight, 1e-5).scalar_type(), at::kBFloat16);
  expect_close_relative(ops::rms_norm(x, weight, 1e-5),
                        exact / (exact.square().mean(-1, true) + 1e-5).sqrt(), 0x1p-8);
}

TEST(Activations, EqualTheirFormulas) {
  const at::Tensor x = normal({5, 8}, 1) * 3;
  expect_close(ops::gelu(x, false),
               mapped(x, [](double v) { return v * 0.5 * std::erfc(-v / std::sqrt(2.0)); }), 1e-14);
  expect_close(ops::gelu(x, true),
               mapped(x,
                      [](double v) {
                        const double inner =
                            std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v);
                        return 0.5 * v * (1 + std::tanh(inner));
                      }),
               1e-14);
  expect_close(ops::squared_relu(x), mapped(x, [](double v) { return v > 0 ? v * v : 0; }), 1e-14);
  const at::Tensor gate = x.narrow(-1, 0, 4), up = x.narrow(-1, 4, 4);
  expect_close(ops::swiglu(x),
               mapped(gate.contiguous(), [](double v) { return v / (1 + std::exp(-v)); }) * up,
               1e-14);
}

TEST(Activations, GradientsEqualFiniteDifferences) {
  expect_gradients([](const auto& in) { return ops::gelu(in[0], false); }, {leaf({3, 4}, 1)});
  expect_gradients([](const auto& in) { return ops::gelu(in[0], true); }, {leaf({3, 4}, 1)});
  expect_gradients([](const auto& in) { return ops::squared_relu(in[0]); }, {leaf({3, 4}, 1)});
  expect_gradients([](const auto& in) { return ops::swiglu(in[0]); }, {leaf({3, 4}, 1)});
}

TEST(Dropout, KeepsTheRightShareAndScalesIt) {
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kDouble, 1e-14}, {at::kFloat, 1e-6}, {at::kBFloat16, 0x1p-8}}) {
    const at::Tensor x = at::ones({200, 501}, dtype);
    for (const double probability : {0.1, 0.5, 0.9}) {
      const at::Tensor y = ops::dropout(x, probability, seeded(1));
      const double kept = y.ne(0).to(at::kDouble).mean().item<double>();
      EXPECT_NEAR(kept, 1 - probability, 5 * std::sqrt(probability * (1 - probability) / 1e5));
      expect_close(y, y.ne(0).to(at::kDouble) / (1 - probability), tolerance);
    }
  }
}

/// The mask of backward is that of forward, though fp32 and bf16 do not keep it.
TEST(Dropout, BackwardDropsWhatForwardDropped) {
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const at::Tensor x = at::ones({7, 333}, dtype).set_requires_grad(true);
    const at::Tensor base = at::full({7, 333}, 0.5, x.options().requires_grad(false));
    const at::Tensor residual = base.clone().set_requires_grad(true);
    const at::Tensor y = ops::dropout(x, 0.3, seeded(9));
    y.sum().backward();
    expect_equal(x.grad(), y.detach(), "dropout");
    x.mutable_grad().reset();
    const at::Tensor sum = ops::add_dropped(residual, x, 0.3, seeded(9));
    expect_close(sum, base + y.detach(), dtype == at::kBFloat16 ? 0x1p-7 : 1e-7, "sum");
    sum.sum().backward();
    expect_equal(x.grad(), y.detach(), "beside a residual");
    expect_equal(residual.grad(), at::ones_like(residual), "the residual");
  }
}

TEST(Dropout, GeneratorDecidesTheMask) {
  const at::Tensor x = normal({50, 20}, 1);
  expect_equal(ops::dropout(x, 0.3, seeded(5)), ops::dropout(x, 0.3, seeded(5)));
  EXPECT_FALSE(at::equal(ops::dropout(x, 0.3, seeded(5)), ops::dropout(x, 0.3, seeded(6))));
  const auto same_mask = [](const auto& in) { return ops::dropout(in[0], 0.3, seeded(5)); };
  expect_gradients(same_mask, {leaf({4, 5}, 1)});
}

std::vector<double> frequencies_of(int64_t size, double base) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < size; i += 2) {
    frequencies.push_back(std::pow(base, -double(i) / double(size)));
  }
  return frequencies;
}

/// A rotation of the pair (x_i, x_{i + R/2}) is a complex product; what is not rotated passes.
TEST(Rotary, EqualsComplexRotation) {
  const int64_t sequence = 6, batch = 2, heads = 3, size = 8;
  const at::Tensor x = normal({sequence, batch, heads, size}, 1);
  const at::Tensor positions = integers({batch, sequence}, 100, 2);
  for (const int64_t rotary : {8, 4}) {
    const at::Tensor y =
        ops::apply_rotary(x, ops::rotary_angles(positions, frequencies_of(rotary, 10000.0)));
    const int64_t half = rotary / 2;
    at::Tensor expected = x.clone();
    for (int64_t i = 0; i < half; ++i) {
      const double frequency = std::pow(10000.0, -2.0 * double(i) / double(rotary));
      const at::Tensor angle = (positions.t().to(at::kDouble) * frequency).unsqueeze(-1);
      const at::Tensor turned = at::complex(x.select(-1, i), x.select(-1, i + half)) *
                                at::complex(angle.cos(), angle.sin());
      expected.select(-1, i).copy_(at::real(turned));
      expected.select(-1, i + half).copy_(at::imag(turned));
    }
    expect_close(y, expected,
                 2e-5);  // angles up to 100 are rounded to fp32, as published models do
    const at::Tensor scaled =
        ops::apply_rotary(x, ops::rotary_angles(positions, frequencies_of(rotary, 10000.0)), 1.5);
    expect_close(scaled.narrow(-1, 0, rotary), 1.5 * expected.narrow(-1, 0, rotary), 3e-5);
    expect_equal(scaled.narrow(-1, rotary, size - rotary), x.narrow(-1, rotary, size - rotary));
  }
}

TEST(Rotary, ScoresDependOnDistanceAlone) {
  const at::Tensor q = normal({1, 1, 1, 8}, 1), k = normal({1, 1, 1, 8}, 2);
  const auto score = [&](int64_t i, int64_t j) {
    const auto turned = [](const at::Tensor& x, int64_t position) {
      return ops::apply_rotary(
          x, ops::rotary_angles(at::full({1, 1}, position), frequencies_of(8, 10000.0)));
    };
    return (turned(q, i) * turned(k, j)).sum().item<double>();
  };
  for (const int64_t shift : {1, 7, 50})
    EXPECT_NEAR(score(9 + shift, 4 + shift), score(9, 4), 1e-4);
  EXPECT_NEAR(score(3, 3), (q * k).sum().item<double>(), 1e-6);
}

TEST(Rotary, GradientsEqualFiniteDifferences) {
  const at::Tensor angles = ops::rotary_angles(integers({2, 3}, 50, 2), frequencies_of(4, 100.0));
  expect_gradients([&](const auto& in) { return ops::apply_rotary(in[0], angles); },
                   {leaf({3, 2, 2, 6}, 1)});
}

}  // namespace
}  // namespace megalith::testing

#include "support/global_tensors.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "megalith/core/error.hpp"
#include "support/numeric.hpp"

namespace megalith::testing {
namespace {

at::Tensor narrowed(at::Tensor global, const Box& box) {
  for (size_t dim = 0; dim < box.length.size(); ++dim) {
    global = global.narrow(static_cast<int64_t>(dim), box.offset[dim], box.length[dim]);
  }
  return global;
}

uint64_t seed_of(const std::string& name) {
  uint64_t seed = 17;
  for (const char c : name) seed = seed * 31 + static_cast<unsigned char>(c);
  return seed;
}

void expect_same_names(const TensorMap& actual, const TensorMap& expected) {
  for (const auto& [name, tensor] : actual) {
    EXPECT_TRUE(expected.contains(name)) << name << " is not expected";
  }
  for (const auto& [name, tensor] : expected) {
    EXPECT_TRUE(actual.contains(name)) << name << " is missing";
  }
}

}  // namespace

void GlobalTensors::add(const Parameter& parameter, const at::Tensor& on_device) {
  const at::NoGradGuard no_grad;
  const at::Tensor local = on_device.to(at::kCPU);
  const std::lock_guard lock(mutex_);
  for (const auto& box : parameter.shard.boxes) {
    auto& [value, filled] = tensors_[box.name];
    if (!value.defined()) {
      value = at::zeros(box.global_shape, local.options());
      filled = at::zeros(box.global_shape, at::kBool);
    }
    if (value.sizes() != at::IntArrayRef(box.global_shape)) {
      throw RunError("{}: ranks do not agree on its shape", box.name);
    }
    const at::Tensor slice = local.detach().narrow(0, box.local_row, box.length[0]);
    const at::Tensor place = narrowed(value, box), before = narrowed(filled, box);
    if (before.any().item<bool>() &&
        !slice.masked_select(before).equal(place.masked_select(before))) {
      throw RunError("{}: two ranks hold different values of the same elements", box.name);
    }
    place.copy_(slice);
    before.fill_(true);
  }
}

void GlobalTensors::add_values(const ParameterList& parameters) {
  for (const auto& parameter : parameters) add(parameter, parameter.value);
}

void GlobalTensors::add_gradients(const ParameterList& parameters) {
  for (const auto& parameter : parameters) {
    const at::Tensor& gradient = parameter.value.grad();
    add(parameter, gradient.defined() ? gradient : at::zeros_like(parameter.value));
  }
}

TensorMap GlobalTensors::take() {
  const std::lock_guard lock(mutex_);
  TensorMap result;
  for (auto& [name, collected] : tensors_) {
    if (!collected.filled.all().item<bool>())
      throw RunError("{}: some elements are on no rank", name);
    result[name] = collected.value;
  }
  tensors_.clear();
  return result;
}

void load_slices(ParameterList& parameters, const TensorMap& globals) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : parameters) {
    for (const auto& box : parameter.shard.boxes) {
      const auto found = globals.find(box.name);
      if (found == globals.end()) throw RunError("no global tensor {}", box.name);
      if (found->second.sizes() != at::IntArrayRef(box.global_shape)) {
        throw RunError("{}: unexpected shape", box.name);
      }
      parameter.value.narrow(0, box.local_row, box.length[0]).copy_(narrowed(found->second, box));
    }
  }
}

TensorMap random_globals(const ParameterList& parameters, double scale) {
  TensorMap globals;
  for (const auto& parameter : parameters) {
    for (const auto& box : parameter.shard.boxes) {
      const bool is_norm = box.global_shape.size() == 1 && box.name.ends_with(".weight");
      const at::Tensor drawn = normal(box.global_shape, seed_of(box.name)) * scale;
      globals[box.name] = is_norm ? drawn + 1 : drawn;
    }
  }
  return globals;
}

void expect_close_maps(const TensorMap& actual, const TensorMap& expected, double tolerance,
                       const std::string& context) {
  expect_same_names(actual, expected);
  for (const auto& [name, tensor] : expected) {
    if (actual.contains(name)) expect_close(actual.at(name), tensor, tolerance, context + name);
  }
}

void expect_equal_maps(const TensorMap& actual, const TensorMap& expected,
                       const std::string& context) {
  expect_same_names(actual, expected);
  for (const auto& [name, tensor] : expected) {
    if (actual.contains(name)) expect_equal(actual.at(name), tensor, context + name);
  }
}

}  // namespace megalith::testing

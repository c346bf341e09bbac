// Reading the golden files in tests/golden/upstream, whose README tells their fields.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/digest.hpp"
#include "megalith/data/numpy_file.hpp"
#include "megalith/data/split.hpp"
#include "tests/support/temporary_folder.hpp"

namespace megalith::testing {

using Json = nlohmann::ordered_json;

inline std::string golden_path(const std::string& name) {
  return std::string(MEGALITH_SOURCE_DIR) + "/tests/golden/upstream/" + name;
}

inline Json golden(const std::string& file) {
  return Json::parse(read_text_file(golden_path(file)));
}

/// Type, shape and SHA-256 of the numbers; the JSON holds the numbers themselves for small arrays,
/// of which the hash says the same.
inline void expect_array(const IntegerArray& array, const Json& expected) {
  EXPECT_EQ(numpy_type_name(array.type()), expected.at("dtype").get<std::string>());
  EXPECT_EQ(array.shape(), expected.at("shape").get<std::vector<int64_t>>());
  EXPECT_EQ(sha256_hex(array.bytes()), expected.at("sha256"));
}

/// The number rule of the golden files.
inline std::vector<int32_t> lcg_numbers(const Json& rule) {
  uint64_t x = rule.at("state").get<uint64_t>();
  const int64_t low = rule.at("low"), high = rule.at("high");
  std::vector<int32_t> numbers;
  for (int64_t i = 0; i < rule.at("count").get<int64_t>(); ++i) {
    x = (x * 1664525 + 1013904223) % (uint64_t{1} << 32);
    numbers.push_back(static_cast<int32_t>(low + static_cast<int64_t>(x >> 8) % (high - low + 1)));
  }
  return numbers;
}

inline std::optional<int64_t> optional_integer(const Json& value) {
  if (value.is_null()) return std::nullopt;
  return value.get<int64_t>();
}

inline Split split_named(const std::string& name) {
  for (const Split split : kSplits) {
    if (name == split_name(split)) return split;
  }
  throw std::invalid_argument(name);
}

/// The folder of large data beside the repository, or nothing.
inline std::optional<std::string> large_data() {
  const char* named = std::getenv("MEGALITH_TEST_DATA");
  const std::string folder = named ? named : std::string(MEGALITH_SOURCE_DIR) + "/../shared/data";
  if (!std::filesystem::is_directory(folder)) return std::nullopt;
  return folder;
}

}  // namespace megalith::testing

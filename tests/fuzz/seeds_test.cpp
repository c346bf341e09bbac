// Feeds the kept inputs of a fuzz target to it: what once was found stays found, in every build.
// New finds are added by tests/fuzz/README.md.
#include <gtest/gtest.h>

#include <filesystem>

#include "megalith/core/atomic_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace megalith::testing {
namespace {

TEST(FuzzSeeds, EachIsReadOrRefused) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(MEGALITH_FUZZ_SEEDS)) {
    SCOPED_TRACE(entry.path().filename().string());
    const std::string bytes = read_text_file(entry.path().string());
    EXPECT_NO_THROW(
        LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
    ++count;
  }
  EXPECT_GT(count, 0U);
}

TEST(FuzzSeeds, PartsOfEachAreReadOrRefused) {
  for (const auto& entry : std::filesystem::directory_iterator(MEGALITH_FUZZ_SEEDS)) {
    SCOPED_TRACE(entry.path().filename().string());
    const std::string bytes = read_text_file(entry.path().string());
    const size_t step = bytes.size() / 50 + 1;
    for (size_t size = 0; size < bytes.size(); size += step) {
      EXPECT_NO_THROW(LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), size));
    }
  }
}

}  // namespace
}  // namespace megalith::testing

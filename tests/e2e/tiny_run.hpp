// A tiny training run by the real binary, for the tests of saving and going on.
//
// The suite's folder holds two small datasets and a run file; each test adds flags and looks at
// what the run wrote: metrics.jsonl and `megalith checkpoint`.
#pragma once

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/process.hpp"
#include "support/temporary_folder.hpp"

namespace megalith::testing {

class TinyRun : public ::testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();
  static std::string file(const std::string& name);

  /// The words of a run of 12 iterations on so many ranks.
  static Words command(int64_t num_ranks, const Words& flags);
  static ProcessResult pretrain(int64_t num_ranks, const Words& flags);
  /// The same for a run that must succeed; gives its output.
  static std::string train(int64_t num_ranks, const Words& flags);
  /// `megalith checkpoint ...`, which must succeed; gives its output.
  static std::string checkpoint(const Words& words);

  /// The lines of DIR/metrics.jsonl without what depends on the clock.
  static std::vector<nlohmann::json> metrics_of(const std::string& folder);
  /// Weights and optimizer state of both folders' latest checkpoints, and all their metrics.
  static void expect_identical(const std::string& a, const std::string& b);
  /// Names of the complete checkpoints.
  static Words checkpoints_in(const std::string& folder);

 private:
  static inline std::unique_ptr<TemporaryFolder> folder_;
};

}  // namespace megalith::testing

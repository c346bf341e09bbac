// A tiny pretrained BERT and tiny files of every task, for the tests of fine-tuning by the real
// binary.
//
// What is right can be read off a word or two, so that a few steps learn it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/e2e/tiny_run.hpp"

namespace megalith::testing {

class TinyTasks : public TinyRun {
 protected:
  static void SetUpTestSuite();

  static void write(const std::string& name, const std::string& bytes);
  static nlohmann::json json_file(const std::string& name);
  static std::string bytes_of(const std::string& name);

  /// `megalith finetune TASK` on so many ranks, from the pretrained model unless `flags` say
  /// --load.
  static ProcessResult finetune(int64_t num_ranks, const std::string& task, const Words& flags);
  /// The same for a run that must succeed; gives its output.
  static std::string tune(int64_t num_ranks, const std::string& task, const Words& flags);
  static ProcessResult evaluate(int64_t num_ranks, const std::string& task, const Words& flags);
  /// The flags that name this task's files.
  static Words data_of(const std::string& task, bool with_test = false);
};

}  // namespace megalith::testing

// Models that transformers made, imported once for a suite, and Python to compare with.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "e2e/tiny_run.hpp"
#include "megalith/core/atomic_file.hpp"

namespace megalith::testing {

class ImportedModels : public TinyRun {
 protected:
  /// Imports every model of `golden`, a folder that ends in "/", whose fixed.json names them.
  static void import_models(const std::string& golden) {
    fixed_ = std::make_unique<nlohmann::json>(
        nlohmann::json::parse(read_text_file(golden + "fixed.json")));
    for (const auto& [name, numbers] : fixed_->items()) {
      reports_[name] = checkpoint({"import-hf", golden + name, "--save", imported(name)});
    }
  }
  static void TearDownTestSuite() {
    fixed_.reset();
    reports_.clear();
    TinyRun::TearDownTestSuite();
  }

  static std::string imported(const std::string& name) { return file("imported_" + name); }
  static const nlohmann::json& fixed() { return *fixed_; }
  /// What the import printed.
  static const std::string& report(const std::string& name) { return reports_.at(name); }

  static bool has_transformers() {
    static const bool has =
        std::filesystem::exists(python()) &&
        run_process({python(), "-c", "import torch, transformers, safetensors"}, {}, 120).status ==
            0;
    return has;
  }
  static ProcessResult run_oracle(const std::string& script, const Words& words) {
    return run_process(
        Words{python(), std::string(MEGALITH_SOURCE_DIR) + "/tests/oracles/" + script} + words,
        {.environment = {{"HF_HUB_OFFLINE", "1"}}}, 120);
  }

 private:
  static std::string python() { return std::string(MEGALITH_SOURCE_DIR) + "/.venv/bin/python"; }

  static inline std::unique_ptr<nlohmann::json> fixed_;
  static inline std::map<std::string, std::string> reports_;
};

}  // namespace megalith::testing

// Where the tokenizer tests find vocabularies and golden ids.
//
// Files of the repository are always there; the large ones (whole corpora) stand in a folder beside
// it or in MEGALITH_TEST_DATA, and tests over them are skipped, visibly, without it.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "megalith/tokenizer/tokenizer.hpp"
#include "tests/support/temporary_folder.hpp"

namespace megalith::testing {

/// A path in the repository.
std::string repository_file(const std::string& name);
/// A path in the folder of large data, when it is there.
std::optional<std::string> large_file(const std::string& name);

std::vector<nlohmann::json> read_json_lines(const std::string& path);
std::vector<int32_t> read_uint16(const std::string& path);

std::unique_ptr<Tokenizer> make_gpt2();
std::unique_ptr<Tokenizer> make_bert_uncased();
std::unique_ptr<Tokenizer> make_bert_cased();

}  // namespace megalith::testing

/// Skips the test when a file of the large data is not there.
#define MEGALITH_LARGE_FILE(variable, name)                                               \
  const auto variable##_found = megalith::testing::large_file(name);                      \
  if (!variable##_found) GTEST_SKIP() << "needs " << (name) << " of the large test data"; \
  const std::string& variable = *variable##_found

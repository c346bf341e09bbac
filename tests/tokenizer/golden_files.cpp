#include "tests/tokenizer/golden_files.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "megalith/core/atomic_file.hpp"

namespace megalith::testing {

std::string repository_file(const std::string& name) {
  return std::string(MEGALITH_SOURCE_DIR) + "/" + name;
}

std::optional<std::string> large_file(const std::string& name) {
  const char* folder = std::getenv("MEGALITH_TEST_DATA");
  const std::string path =
      (folder != nullptr ? std::string(folder) : repository_file("../shared/data")) + "/" + name;
  return std::filesystem::exists(path) ? std::optional(path) : std::nullopt;
}

std::vector<nlohmann::json> read_json_lines(const std::string& path) {
  std::ifstream in(path);
  std::vector<nlohmann::json> rows;
  for (std::string line; std::getline(in, line);) rows.push_back(nlohmann::json::parse(line));
  if (rows.empty()) throw std::runtime_error(path + ": no lines");
  return rows;
}

std::vector<int32_t> read_uint16(const std::string& path) {
  const std::string bytes = read_text_file(path);
  std::vector<int32_t> ids;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    ids.push_back(static_cast<uint8_t>(bytes[i]) | static_cast<uint8_t>(bytes[i + 1]) << 8);
  }
  return ids;
}

std::unique_ptr<Tokenizer> make_gpt2() {
  return make_tokenizer({.tokenizer_type = "GPT2BPETokenizer",
                         .vocab_file = repository_file("assets/gpt2/vocab.json"),
                         .merge_file = repository_file("assets/gpt2/merges.txt")});
}

std::unique_ptr<Tokenizer> make_bert_uncased() {
  return make_tokenizer({.tokenizer_type = "BertWordPieceLowerCase",
                         .vocab_file = repository_file("tests/golden/bert-vocab/uncased.txt")});
}

std::unique_ptr<Tokenizer> make_bert_cased() {
  return make_tokenizer({.tokenizer_type = "BertWordPieceCase",
                         .vocab_file = repository_file("tests/golden/bert-vocab/cased.txt")});
}

}  // namespace megalith::testing

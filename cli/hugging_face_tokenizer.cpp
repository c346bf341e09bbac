#include "cli/hugging_face_tokenizer.hpp"

#include <filesystem>

#include "megalith/core/atomic_file.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith::cli {
namespace {

namespace fs = std::filesystem;

/// By do_lower_case of tokenizer_config.json, which is true where nothing is said.
std::string word_piece_type(const std::string& folder) {
  const fs::path path = fs::path(folder) / "tokenizer_config.json";
  bool lower = true;
  if (fs::exists(path)) {
    const auto json = nlohmann::json::parse(read_text_file(path.string()), nullptr, false);
    if (json.is_object() && json.contains("do_lower_case")) lower = json["do_lower_case"] != false;
  }
  return lower ? "BertWordPieceLowerCase" : "BertWordPieceCase";
}

}  // namespace

nlohmann::json tokenizer_beside(const std::string& folder, HuggingFaceFamily family) {
  TokenizerConfig config;
  const auto file = [&](const char* name) {
    return fs::absolute(fs::path(folder) / name).string();
  };
  if (family == HuggingFaceFamily::kBert && fs::exists(file("vocab.txt"))) {
    config.tokenizer_type = word_piece_type(folder);
    config.vocab_file = file("vocab.txt");
  } else if (fs::exists(file("tokenizer.json"))) {
    config.tokenizer_type = "HuggingFaceTokenizer";
    config.tokenizer_model = file("tokenizer.json");
  } else if (fs::exists(file("vocab.json")) && fs::exists(file("merges.txt"))) {
    config.tokenizer_type = "GPT2BPETokenizer";
    config.vocab_file = file("vocab.json");
    config.merge_file = file("merges.txt");
  } else {
    return nullptr;
  }
  return fields_to_json(config.fields());
}

}  // namespace megalith::cli

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
  const auto set = [&](const std::string& flag, const std::string& value) {
    for (const auto& field : config.fields()) {
      if (field.name == flag) return !set_field(field, {value});
    }
    return false;
  };
  const auto file = [&](const char* name) {
    return fs::absolute(fs::path(folder) / name).string();
  };
  if (family == HuggingFaceFamily::kBert && fs::exists(file("vocab.txt"))) {
    set("tokenizer-type", word_piece_type(folder));
    set("vocab-file", file("vocab.txt"));
  } else if (fs::exists(file("tokenizer.json")) && set("tokenizer-model", file("tokenizer.json"))) {
    set("tokenizer-type", "HuggingFaceTokenizer");
  } else if (fs::exists(file("vocab.json")) && fs::exists(file("merges.txt"))) {
    set("tokenizer-type", "GPT2BPETokenizer");
    set("vocab-file", file("vocab.json"));
    set("merge-file", file("merges.txt"));
  } else {
    return nullptr;
  }
  return fields_to_json(config.fields());
}

}  // namespace megalith::cli

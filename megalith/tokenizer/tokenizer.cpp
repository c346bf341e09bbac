#include "megalith/tokenizer/tokenizer.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "megalith/tokenizer/gpt2_bpe.hpp"
#include "megalith/tokenizer/hugging_face_tokenizer.hpp"
#include "megalith/tokenizer/null_tokenizer.hpp"
#include "megalith/tokenizer/unicode.hpp"
#include "megalith/tokenizer/word_piece.hpp"

namespace megalith {
namespace {

constexpr const char* kGpt2 = "GPT2BPETokenizer";
constexpr const char* kBertLower = "BertWordPieceLowerCase";
constexpr const char* kBertCase = "BertWordPieceCase";
constexpr const char* kHuggingFace = "HuggingFaceTokenizer";
constexpr const char* kNull = "NullTokenizer";
constexpr double kLargestVocabulary = 2147483646;  // ids are int32

std::vector<std::string> types() { return {kGpt2, kBertLower, kBertCase, kHuggingFace, kNull}; }

/// Which flags a type needs; those it does not need must not be given.
struct Needs {
  bool vocab_file = false, merge_file = false, tokenizer_model = false, vocab_size = false;
};

Needs needs_of(const std::string& type) {
  Needs needs;
  needs.vocab_file = type != kNull && type != kHuggingFace;
  needs.merge_file = type == kGpt2;
  needs.tokenizer_model = type == kHuggingFace;
  needs.vocab_size = type == kNull;
  return needs;
}

void check_vocab_size(const TokenizerConfig& config, const Tokenizer& tokenizer) {
  if (config.vocab_size && *config.vocab_size != tokenizer.vocab_size()) {
    throw UsageError("--vocab-size {} does not fit {}, which has {} entries; leave the flag out",
                     *config.vocab_size,
                     config.vocab_file.value_or(config.tokenizer_model.value_or("")),
                     tokenizer.vocab_size());
  }
}

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  append_ids(text, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  const std::string bytes = decode_bytes(ids);
  std::string repaired;
  return std::string(unicode::well_formed(bytes, repaired));
}

int32_t Tokenizer::require_eod(std::string_view asked_by) const {
  if (const auto id = eod()) return *id;
  throw UsageError(
      "{} needs an end-of-document token, and the vocabulary of {} has none; use a "
      "vocabulary with <|endoftext|>, or leave it out",
      asked_by, name());
}

void Tokenizer::check_id(int32_t id) const {
  if (id < 0 || id >= vocab_size()) {
    throw UsageError("token id {} is not in the vocabulary of {}, which has the ids 0 to {}", id,
                     name(), vocab_size() - 1);
  }
}

FieldList TokenizerConfig::fields() {
  return {
      {"tokenizer-type", &tokenizer_type,
       fmt::format("How text becomes token ids: {}.", fmt::join(types(), ", "))},
      {"vocab-file", &vocab_file,
       "The vocabulary: GPT-2's vocab.json (encoder.json), or BERT's vocab.txt."},
      {"merge-file", &merge_file, "GPT-2's merges.txt (vocab.bpe)."},
      {"tokenizer-model", &tokenizer_model,
       "HuggingFaceTokenizer: a tokenizer.json, or the folder that holds it."},
      {"vocab-size", &vocab_size,
       "NullTokenizer: ids below this are text, and this one ends a document.",
       between(1, kLargestVocabulary)},
  };
}

void check_tokenizer_config(const TokenizerConfig& config, Problems& problems) {
  if (!config.tokenizer_type) {
    problems.add_missing("tokenizer-type", fmt::format("give one of {}", fmt::join(types(), ", ")));
    return;
  }
  const std::string& type = *config.tokenizer_type;
  const auto known = types();
  if (std::find(known.begin(), known.end(), type) == known.end()) {
    const std::string near = nearest_name(type, known);
    problems.add("--tokenizer-type {} is not known: give one of {}{}", type, fmt::join(known, ", "),
                 near.empty() ? "" : fmt::format("; did you mean {}?", near));
    return;
  }
  const Needs needs = needs_of(type);
  if (needs.vocab_file && !config.vocab_file) {
    problems.add_missing("vocab-file",
                         fmt::format("{} reads {}", type,
                                     type == kGpt2 ? "GPT-2's vocab.json" : "BERT's vocab.txt"));
  }
  if (needs.merge_file && !config.merge_file) {
    problems.add_missing("merge-file", fmt::format("{} reads GPT-2's merges.txt", type));
  }
  if (needs.tokenizer_model && !config.tokenizer_model) {
    problems.add_missing("tokenizer-model", fmt::format("{} reads a tokenizer.json", type));
  }
  if (needs.vocab_size && !config.vocab_size) {
    problems.add_missing("vocab-size", fmt::format("{} takes ids below it as text", type));
  }
  if (!needs.vocab_file && config.vocab_file) {
    problems.add("--vocab-file {}: {} {}; leave it out", *config.vocab_file, type,
                 type == kHuggingFace ? "reads the vocabulary from --tokenizer-model"
                                      : "has no vocabulary file");
  }
  if (!needs.merge_file && config.merge_file) {
    problems.add("--merge-file {}: {} {}; leave it out", *config.merge_file, type,
                 type == kHuggingFace ? "reads merges from --tokenizer-model" : "has no merges");
  }
  if (!needs.tokenizer_model && config.tokenizer_model) {
    problems.add("--tokenizer-model {}: {} reads no tokenizer.json; leave it out, or give {}",
                 *config.tokenizer_model, type, kHuggingFace);
  }
}

namespace {

void check_file(const char* flag, const std::optional<std::string>& path, Problems& problems) {
  if (!path) return;
  std::error_code error;
  if (std::filesystem::is_directory(*path, error)) {
    problems.add("--{} {}: is a folder; give the file", flag, *path);
  } else if (!std::ifstream(*path)) {
    problems.add("--{} {}", flag, system_error_text(*path, "open"));
  }
}

}  // namespace

void check_tokenizer_files(const TokenizerConfig& config, Problems& problems) {
  check_file("vocab-file", config.vocab_file, problems);
  check_file("merge-file", config.merge_file, problems);
  if (!config.tokenizer_model) return;
  problems.collect([&] {
    const std::string file = tokenizer_file(*config.tokenizer_model);
    if (!std::ifstream(file)) {
      problems.add("--tokenizer-model {}", system_error_text(file, "open"));
    }
  });
}

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerConfig& config) {
  Problems problems;
  check_tokenizer_config(config, problems);
  check_tokenizer_files(config, problems);
  problems.raise_if_any();
  const std::string& type = *config.tokenizer_type;
  if (type == kNull) return std::make_unique<NullTokenizer>(*config.vocab_size);
  std::unique_ptr<Tokenizer> tokenizer;
  if (type == kHuggingFace) {
    tokenizer = std::make_unique<HuggingFaceTokenizer>(*config.tokenizer_model);
  } else if (type == kGpt2) {
    tokenizer = std::make_unique<Gpt2BpeTokenizer>(*config.vocab_file, *config.merge_file);
  } else {
    tokenizer = std::make_unique<WordPieceTokenizer>(
        *config.vocab_file, type == kBertLower ? LetterCase::kLower : LetterCase::kKeep);
  }
  check_vocab_size(config, *tokenizer);
  return tokenizer;
}

size_t Tokenizer::last_safe_cut(std::string_view text) const {
  const auto is_space = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
  for (size_t at = text.size(); at-- > 1;) {
    if (is_space(text[at]) && text[at - 1] > ' ' && text[at - 1] < 0x7F) return at;
  }
  return 0;
}

}  // namespace megalith

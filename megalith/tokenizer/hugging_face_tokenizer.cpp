#include "megalith/tokenizer/hugging_face_tokenizer.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "megalith/core/atomic_file.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

bool holds_space(const std::string& text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return c == ' '; });
}

}  // namespace

HuggingFaceTokenizer::HuggingFaceTokenizer(const std::string& path)
    : HuggingFaceTokenizer(read_text_file(tokenizer_file(path)),
                           "--tokenizer-model " + tokenizer_file(path)) {
  path_ = tokenizer_file(path);
}

HuggingFaceTokenizer::HuggingFaceTokenizer(const std::string& json, const std::string& name)
    : path_(name), parts_(read_tokenizer_parts(json, name)) {
  index_added_tokens();
  const auto in_parts = [](const auto& step) { return step->works_in_parts(); };
  const auto stays_within = [](const AddedToken& token) {
    return !token.rstrip && !holds_space(token.content);
  };
  works_in_parts_ = parts_.pre_tokenizer.works_in_parts() &&
                    std::all_of(parts_.normalizers.begin(), parts_.normalizers.end(), in_parts) &&
                    std::all_of(parts_.added.begin(), parts_.added.end(), stays_within);
}

void HuggingFaceTokenizer::index_added_tokens() {
  for (const AddedToken& token : parts_.added) {
    const std::string text = token.normalized ? normalized(token.content) : token.content;
    if (text.empty()) {
      throw UsageError("{}: added_tokens: nothing is left of '{}' when it is normalized", path_,
                       token.content);
    }
    if (!(token.normalized ? in_normal_text_ : in_text_).add(text, token)) {
      throw UsageError("{}: added_tokens: '{}' and another one are both '{}' when normalized",
                       path_, token.content, text);
    }
    finds_in_normal_text_ |= token.normalized;
    parts_.tokens[static_cast<size_t>(token.id)] = text;
  }
}

std::string HuggingFaceTokenizer::normalized(std::string_view text) const {
  std::string normal(text);
  for (const auto& normalizer : parts_.normalizers) normalizer->apply(normal);
  return normal;
}

void HuggingFaceTokenizer::append_ids(std::string_view text, std::vector<int32_t>& ids) const {
  std::string repaired;
  text = unicode::well_formed(text, repaired);
  in_text_.split(text, [&](const TokenFinder::Section& section) {
    if (section.token != nullptr) {
      ids.push_back(section.token->id);
    } else {
      append_section(text.substr(section.begin, section.end - section.begin), section.begin == 0,
                     ids);
    }
  });
}

void HuggingFaceTokenizer::append_section(std::string_view text, bool at_start,
                                          std::vector<int32_t>& ids) const {
  std::string storage;
  if (!parts_.normalizers.empty()) text = storage = normalized(text);
  if (text.empty()) return;
  if (!finds_in_normal_text_) return append_normal({text, at_start}, ids);
  in_normal_text_.split(text, [&](const TokenFinder::Section& section) {
    if (section.token != nullptr) {
      ids.push_back(section.token->id);
    } else {
      append_normal(
          {text.substr(section.begin, section.end - section.begin), at_start && section.begin == 0},
          ids);
    }
  });
}

void HuggingFaceTokenizer::append_normal(const TextPart& text, std::vector<int32_t>& ids) const {
  if (const auto* pairs = std::get_if<BytePairEncoder>(&*parts_.model)) {
    parts_.pre_tokenizer.split(
        text, [&](const TextPart& piece) { pairs->append_piece(piece.text, ids); });
  } else {
    const auto& word_piece = std::get<WordPieceEncoder>(*parts_.model);
    parts_.pre_tokenizer.split(
        text, [&](const TextPart& piece) { word_piece.append_word(piece.text, ids); });
  }
}

std::vector<std::string> HuggingFaceTokenizer::tokens_of(std::span<const int32_t> ids) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    check_id(id);
    tokens.push_back(parts_.tokens[static_cast<size_t>(id)]);
  }
  return tokens;
}

std::string HuggingFaceTokenizer::decode(std::span<const int32_t> ids) const {
  return parts_.decoder.decode(tokens_of(ids), /*repair=*/true);
}

std::string HuggingFaceTokenizer::decode_bytes(std::span<const int32_t> ids) const {
  return parts_.decoder.decode(tokens_of(ids), /*repair=*/false);
}

const std::vector<std::string>& HuggingFaceTokenizer::end_names() {
  static const std::vector<std::string> names{
      "<|endoftext|>", "<|end_of_text|>",     "</s>",
      "<eos>",         "<|end▁of▁sentence|>", "<｜end▁of▁sentence｜>"};
  return names;
}

const std::vector<std::string>& HuggingFaceTokenizer::pad_names() {
  static const std::vector<std::string> names{"[PAD]", "<pad>", "<|pad|>", "<|padding|>",
                                              "<|finetune_right_pad_id|>"};
  return names;
}

std::optional<int32_t> HuggingFaceTokenizer::first_of(const std::vector<std::string>& names) const {
  for (const auto& name : names) {
    if (const auto id = token_id(name)) return id;
  }
  return std::nullopt;
}

std::optional<int32_t> HuggingFaceTokenizer::pad() const {
  const auto id = parts_.pad_token ? token_id(*parts_.pad_token) : first_of(pad_names());
  return id == eod() ? std::nullopt : id;
}

std::optional<int32_t> HuggingFaceTokenizer::token_id(std::string_view token) const {
  const auto found = parts_.ids.find(token);
  return found == parts_.ids.end() ? std::nullopt : std::optional(found->second);
}

nlohmann::ordered_json HuggingFaceTokenizer::description() const {
  return {{"class", "megatron.core.tokenizers.text.text_tokenizer.MegatronTokenizerText"},
          {"tokenizer_path", path_},
          {"additional_special_tokens", "[]"},
          {"vocab_file", "None"},
          {"merges_file", "None"},
          {"use_fast", "True"},
          {"trust_remote_code", "False"},
          {"include_special_tokens", "False"},
          {"use_gigatoken", "False"}};
}

size_t HuggingFaceTokenizer::last_safe_cut(std::string_view text) const {
  if (!works_in_parts_) return 0;
  for (size_t at = text.size(); at-- > 1;) {
    if (text[at] == ' ' && text[at - 1] > ' ' && text[at - 1] < 0x7F) return at;
  }
  return 0;
}

}  // namespace megalith

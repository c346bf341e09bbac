// A tokenizer.json of the `tokenizers` package, read directly as a tokenizer.
//
// Ids equal the package's encode(text, add_special_tokens=False): no token is added, and the file's
// added tokens are found in the text, special or not. Only what bears on that is read: the file's
// truncation, padding and post-processor are not applied. Families: byte-level BPE (GPT-2, Llama 3,
// Qwen2), BPE over characters with byte fallback (Llama 2, Mistral), WordPiece (BERT); any other
// kind of component is refused by name. Reading is tokenizer_file.hpp's.
#pragma once

#include <memory>

#include "megalith/tokenizer/tokenizer.hpp"
#include "megalith/tokenizer/tokenizer_file.hpp"

namespace megalith {

class HuggingFaceTokenizer : public Tokenizer {
 public:
  /// `path`: the file, or the folder that holds it. Throws UsageError listing what is wrong with
  /// it.
  explicit HuggingFaceTokenizer(const std::string& path);
  /// From the text of a file; `name` is how messages begin.
  HuggingFaceTokenizer(const std::string& json, const std::string& name);

  void append_ids(std::string_view text, std::vector<int32_t>& ids) const override;
  /// As the package's decode(ids, skip_special_tokens=False).
  std::string decode(std::span<const int32_t> ids) const override;
  std::string decode_bytes(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return static_cast<int64_t>(parts_.tokens.size()); }
  /// The first of end_names() that the file has.
  std::optional<int32_t> eod() const override { return first_of(end_names()); }
  /// What the file's "padding" names, else the first of pad_names() that the file has.
  std::optional<int32_t> pad() const override;
  std::optional<int32_t> token_id(std::string_view token) const override;
  std::string name() const override { return "HuggingFaceTokenizer"; }
  nlohmann::ordered_json description() const override;
  std::vector<std::string> notices() const override { return parts_.notices; }
  size_t last_safe_cut(std::string_view text) const override;

  static const std::vector<std::string>& end_names();
  static const std::vector<std::string>& pad_names();

 private:
  void index_added_tokens();
  std::optional<int32_t> first_of(const std::vector<std::string>& names) const;
  std::vector<std::string> tokens_of(std::span<const int32_t> ids) const;
  std::string normalized(std::string_view text) const;
  void append_section(std::string_view text, bool at_start, std::vector<int32_t>& ids) const;
  void append_normal(const TextPart& text, std::vector<int32_t>& ids) const;

  std::string path_;
  TokenizerParts parts_;
  TokenFinder in_text_, in_normal_text_;
  bool finds_in_normal_text_ = false;
  bool works_in_parts_ = false;
};

}  // namespace megalith

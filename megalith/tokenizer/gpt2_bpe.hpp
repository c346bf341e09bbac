// GPT-2's byte-level byte pair encoding: exact, and linear in the length of the text.
//
// Text is cut by gpt2_splitter.hpp, pieces are encoded by byte_pair_encoder.hpp; no state between
// calls. Reads vocab.json and merges.txt; a tokenizer.json is hugging_face_tokenizer.hpp's.
// Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.2.
#pragma once

#include "megalith/tokenizer/byte_pair_encoder.hpp"
#include "megalith/tokenizer/gpt2_splitter.hpp"
#include "megalith/tokenizer/gpt2_vocabulary.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith {

class Gpt2BpeTokenizer : public Tokenizer {
 public:
  /// Throws UsageError naming the file at fault.
  Gpt2BpeTokenizer(const std::string& vocab_file, const std::string& merge_file);

  void append_ids(std::string_view text, std::vector<int32_t>& ids) const override;
  std::string decode_bytes(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return vocabulary_.size(); }
  std::optional<int32_t> eod() const override { return vocabulary_.find("<|endoftext|>"); }
  std::optional<int32_t> token_id(std::string_view token) const override {
    return vocabulary_.find(token);
  }
  std::string name() const override { return "GPT2BPETokenizer"; }
  nlohmann::ordered_json description() const override;

 private:
  std::string vocab_file_, merge_file_;
  Gpt2Splitter splitter_;
  Gpt2Vocabulary vocabulary_;
  BytePairEncoder encoder_;
};

}  // namespace megalith

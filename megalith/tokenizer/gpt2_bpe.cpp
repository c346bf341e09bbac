#include "megalith/tokenizer/gpt2_bpe.hpp"

#include <nlohmann/json.hpp>

#include "megalith/core/error.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

// Special tokens and the odd entry are not reached by merges; a twentieth of a vocabulary is.
constexpr int64_t kFewEntries = 16;

}  // namespace

Gpt2BpeTokenizer::Gpt2BpeTokenizer(const std::string& vocab_file, const std::string& merge_file)
    : vocab_file_(vocab_file),
      merge_file_(merge_file),
      vocabulary_(vocab_file),
      encoder_(vocabulary_.entries(), vocabulary_.read_merges(merge_file), {.source = vocab_file}) {
  const int64_t unreached = vocab_size() - encoder_.num_reached();
  if (unreached > kFewEntries + vocab_size() / 20) {
    throw UsageError(
        "--merge-file {}: no merge leads to {} of the {} entries of {}; the file was cut short, or "
        "belongs to another vocabulary",
        merge_file_, unreached, vocab_size(), vocab_file_);
  }
}

void Gpt2BpeTokenizer::append_ids(std::string_view text, std::vector<int32_t>& ids) const {
  std::string repaired;
  text = unicode::well_formed(text, repaired);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = splitter_.piece_end(text, begin);
    encoder_.append_piece(text.substr(begin, end - begin), ids);
    begin = end;
  }
}

std::string Gpt2BpeTokenizer::decode_bytes(std::span<const int32_t> ids) const {
  std::string bytes;
  for (const int32_t id : ids) {
    check_id(id);
    bytes += vocabulary_.bytes(id);
  }
  return bytes;
}

nlohmann::ordered_json Gpt2BpeTokenizer::description() const {
  return {{"class", "megatron.core.tokenizers.text.text_tokenizer.MegatronTokenizerText"},
          {"tokenizer_path", name()},
          {"additional_special_tokens", "[]"},
          {"vocab_file", vocab_file_},
          {"merges_file", merge_file_},
          {"use_fast", "True"},
          {"trust_remote_code", "False"},
          {"include_special_tokens", "True"},
          {"use_gigatoken", "False"}};
}

}  // namespace megalith

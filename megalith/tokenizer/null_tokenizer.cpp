#include "megalith/tokenizer/null_tokenizer.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

namespace megalith {
namespace {

constexpr std::string_view kSpaces = " \n\t\r\f\v";

}  // namespace

NullTokenizer::NullTokenizer(int64_t text_ids) : text_ids_(text_ids) {
  if (text_ids < 1 || text_ids >= std::numeric_limits<int32_t>::max()) {
    throw UsageError("--vocab-size must be from 1 to {}, got {}",
                     std::numeric_limits<int32_t>::max() - 1, text_ids);
  }
}

void NullTokenizer::append_ids(std::string_view text, std::vector<int32_t>& ids) const {
  size_t at = text.find_first_not_of(kSpaces);
  while (at < text.size()) {
    const size_t end = std::min(text.find_first_of(kSpaces, at), text.size());
    const std::string_view word = text.substr(at, end - at);
    int32_t id = 0;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    const bool is_id = error == std::errc() && stop == word.data() + word.size();
    if (!is_id || id < 0 || id > text_ids_) {
      throw UsageError(
          "NullTokenizer: '{}' is not a token id from 0 to {}; give ids separated by "
          "spaces, or a larger --vocab-size",
          word.substr(0, 40), text_ids_);
    }
    ids.push_back(id);
    at = text.find_first_not_of(kSpaces, end);
  }
}

std::string NullTokenizer::decode_bytes(std::span<const int32_t> ids) const {
  for (const int32_t id : ids) check_id(id);
  return fmt::format("{}", fmt::join(ids, " "));
}

nlohmann::ordered_json NullTokenizer::description() const {
  return {{"class", "megatron.core.tokenizers.text.text_tokenizer.MegatronTokenizerText"},
          {"tokenizer_path", nullptr},
          {"vocab_size", std::to_string(text_ids_)}};
}

}  // namespace megalith

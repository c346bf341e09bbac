#include "megalith/tokenizer/word_piece_encoder.hpp"

#include <algorithm>

namespace megalith {
namespace {

bool continues_character(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

}  // namespace

WordPieceEncoder::WordPieceEncoder(std::vector<std::string> entries, WordPieceOptions options)
    : options_(std::move(options)), entries_(std::move(entries)) {
  for (size_t i = 0; i < entries_.size(); ++i) {
    const std::string& entry = entries_[i];
    const auto id = static_cast<int32_t>(i);
    beginnings_.emplace(entry, id);
    if (entry.starts_with(options_.continuation)) {
      continuations_.emplace(entry.substr(options_.continuation.size()), id);
    }
    longest_bytes_ = std::max(longest_bytes_, entry.size());
  }
}

void WordPieceEncoder::append_word(std::string_view word, std::vector<int32_t>& ids,
                                   std::vector<size_t>* sizes) const {
  const size_t first_id = ids.size();
  const size_t first_size = sizes != nullptr ? sizes->size() : 0;
  const auto append = [&](int32_t id, size_t size) {
    ids.push_back(id);
    if (sizes != nullptr) sizes->push_back(size);
  };
  const auto give_up = [&] {
    ids.resize(first_id);
    if (sizes != nullptr) sizes->resize(first_size);
    append(options_.unknown, word.size());
  };
  const auto num_characters =
      std::count_if(word.begin(), word.end(), [](char byte) { return !continues_character(byte); });
  if (num_characters > options_.longest_word) return give_up();
  for (size_t begin = 0; begin < word.size();) {
    const Ids& known = begin == 0 ? beginnings_ : continuations_;
    size_t end = std::min(word.size(), begin + longest_bytes_);
    auto found = known.end();
    for (; end > begin; --end) {
      if (end < word.size() && continues_character(word[end])) continue;
      found = known.find(word.substr(begin, end - begin));
      if (found != known.end()) break;
    }
    if (found == known.end()) return give_up();
    append(found->second, end - begin);
    begin = end;
  }
}

std::optional<int32_t> WordPieceEncoder::find(std::string_view entry) const {
  const auto found = beginnings_.find(entry);
  return found == beginnings_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace megalith

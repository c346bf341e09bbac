#include "megalith/tasks/word_stream.hpp"

namespace megalith {

WordStream::WordStream(OnWord on_word) : on_word_(std::move(on_word)) {
  is_word_.add(unicode::letters(), 1);
  is_word_.add(unicode::numbers(), 1);
  for (const auto& range : unicode::lowercase()) {
    for (char32_t code = range.first; code <= range.last; code += range.step) {
      lower_[code] = static_cast<char32_t>(static_cast<int32_t>(code) + range.delta);
    }
  }
}

void WordStream::feed(std::string_view bytes) {
  if (!pending_.empty()) {
    // Few bytes are joined with what completes them, not the whole piece.
    while (!bytes.empty() && unicode::incomplete_tail(pending_) != 0) {
      pending_ += bytes.front();
      bytes.remove_prefix(1);
    }
    if (unicode::incomplete_tail(pending_) != 0) return;
    take(unicode::well_formed(pending_, repaired_));
    pending_.clear();
  }
  const size_t tail = unicode::incomplete_tail(bytes);
  pending_ = bytes.substr(bytes.size() - tail);
  take(unicode::well_formed(bytes.substr(0, bytes.size() - tail), repaired_));
}

void WordStream::end() {
  pending_.clear();  // no whole code point, hence no part of a word
  end_word();
}

void WordStream::take(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const auto [code, length] = unicode::decode(text.data() + at);
    at += length;
    if (is_word_[code] == 0) {
      end_word();
    } else if (word_.size() > longest_) {
      continue;
    } else if (code < 0x80) {
      word_ += static_cast<char>(code >= 'A' && code <= 'Z' ? code + ('a' - 'A') : code);
    } else {
      const auto lower = lower_.find(code);
      unicode::append_utf8(word_, lower == lower_.end() ? code : lower->second);
    }
  }
}

void WordStream::end_word() {
  if (word_.empty()) return;
  on_word_(word_);
  word_.clear();
}

}  // namespace megalith

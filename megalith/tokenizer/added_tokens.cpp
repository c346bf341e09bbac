#include "megalith/tokenizer/added_tokens.hpp"

#include <algorithm>
#include <limits>

namespace megalith {
namespace {

constexpr uint8_t kSpace = 1;
constexpr uint8_t kWord = 2;

/// Where the character begins that ends at `end`.
size_t previous_character(std::string_view text, size_t end) {
  size_t at = end - 1;
  while ((static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

AddedToken read_token(const JsonPlace& place) {
  AddedToken token;
  token.id = static_cast<int32_t>(
      std::min<int64_t>(place.whole_number("id"), std::numeric_limits<int32_t>::max()));
  token.content = place.text("content");
  token.single_word = place.flag("single_word");
  token.lstrip = place.flag("lstrip");
  token.rstrip = place.flag("rstrip");
  token.normalized = place.flag("normalized");
  return token;
}

}  // namespace

TokenFinder::TokenFinder() : ends_(1, nullptr) {
  kinds_.add(unicode::spaces(), kSpace);
  kinds_.add(unicode::words(), kWord);
}

bool TokenFinder::add(std::string_view text, const AddedToken& token) {
  uint32_t node = 0;
  for (const char c : text) {
    const uint64_t key = uint64_t{node} << 8 | static_cast<uint8_t>(c);
    const auto [edge, is_new] = next_.emplace(key, static_cast<uint32_t>(ends_.size()));
    if (is_new) ends_.push_back(nullptr);
    node = edge->second;
  }
  if (ends_[node] != nullptr) return false;
  ends_[node] = &token;
  first_bytes_[static_cast<uint8_t>(text[0])] = true;
  return true;
}

void TokenFinder::split(std::string_view text, const Visit& visit) const {
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    if (!first_bytes_[static_cast<uint8_t>(text[at])]) {
      ++at;
      continue;
    }
    const Match match = longest_at(text, at);
    if (match.token == nullptr) {
      ++at;
      continue;
    }
    if (fits(text, at, match)) {
      const size_t begin = match.token->lstrip ? spaces_before(text, at, done) : at;
      const size_t end = match.token->rstrip ? spaces_after(text, match.end) : match.end;
      // A token whose spaces a former one took along begins where that one ended.
      if (begin > done) visit({done, begin, nullptr});
      visit({begin, end, match.token});
      done = end;
    }
    at = match.end;
  }
  if (done < text.size()) visit({done, text.size(), nullptr});
}

TokenFinder::Match TokenFinder::longest_at(std::string_view text, size_t at) const {
  Match longest{at, nullptr};
  uint32_t node = 0;
  for (size_t end = at; end < text.size();) {
    const auto edge = next_.find(uint64_t{node} << 8 | static_cast<uint8_t>(text[end]));
    if (edge == next_.end()) break;
    node = edge->second;
    ++end;
    if (ends_[node] != nullptr) longest = {end, ends_[node]};
  }
  return longest;
}

bool TokenFinder::fits(std::string_view text, size_t begin, const Match& match) const {
  if (!match.token->single_word) return true;
  const auto is_word = [&](size_t at) { return is(text, at, kWord); };
  return !(begin > 0 && is_word(previous_character(text, begin))) &&
         !(match.end < text.size() && is_word(match.end));
}

bool TokenFinder::is(std::string_view text, size_t at, uint8_t kind) const {
  return (kinds_[unicode::decode(text.data() + at).code] & kind) != 0;
}

size_t TokenFinder::spaces_before(std::string_view text, size_t at, size_t first) const {
  while (at > first) {
    const size_t before = previous_character(text, at);
    if (!is(text, before, kSpace)) break;
    at = before;
  }
  return std::max(at, first);
}

size_t TokenFinder::spaces_after(std::string_view text, size_t at) const {
  while (at < text.size() && is(text, at, kSpace)) at += unicode::decode(text.data() + at).length;
  return at;
}

std::vector<AddedToken> read_added_tokens(
    const JsonPlace& root,
    const std::function<std::optional<int32_t>(std::string_view)>& vocabulary,
    int64_t vocabulary_size) {
  std::vector<AddedToken> tokens;
  if (!root.find("added_tokens")) return tokens;
  std::unordered_map<std::string, int32_t> known;
  int64_t next_id = vocabulary_size;  // the package goes on after the model's entries
  for (const JsonPlace& place : root.list("added_tokens")) {
    AddedToken token = read_token(place);
    if (token.content.empty()) continue;  // the package leaves them out too
    const auto [seen, is_new] = known.emplace(token.content, token.id);
    if (!is_new) {
      place.complain(fmt::format("'{}' stands there twice", token.content));
      continue;
    }
    const auto entry = vocabulary(token.content);
    const int64_t expected = entry ? *entry : next_id++;
    if (token.id != expected) {
      place.complain(fmt::format(
          "'{}' has the id {}, but {} {}", token.content, token.id,
          entry ? "the model's vocabulary gives it" : "the ids before it leave for it", expected));
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace megalith

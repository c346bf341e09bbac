// The "added_tokens" of a tokenizer.json, and where they stand in a text.
//
// They are found in text, special or not, as the `tokenizers` package's
// encode(add_special_tokens=False) finds them: first those that match the text as it is, then, in
// the normalized rest, those whose own text is normalized too; the leftmost, the longest among
// equals. Adding any of their own accord is nobody's part here.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "megalith/tokenizer/text_normalizer.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {

struct AddedToken {
  int32_t id = 0;
  std::string content;  // as it is written
  bool single_word = false, lstrip = false, rstrip = false, normalized = false;
};

/// Finds some of the added tokens in a text.
class TokenFinder {
 public:
  TokenFinder();
  /// `text` is what to look for. Returns false when another token has the same.
  bool add(std::string_view text, const AddedToken& token);

  /// Part of a text: an added token, or what lies between two (`token` is null).
  struct Section {
    size_t begin, end;
    const AddedToken* token;
  };
  using Visit = std::function<void(const Section&)>;
  /// Calls `visit` for sections that cover the text, in order; none is empty but a token's may be.
  void split(std::string_view text, const Visit& visit) const;

 private:
  struct Match {
    size_t end;
    const AddedToken* token;
  };
  Match longest_at(std::string_view text, size_t at) const;
  bool fits(std::string_view text, size_t begin, const Match& match) const;
  bool is(std::string_view text, size_t at, uint8_t kind) const;
  size_t spaces_before(std::string_view text, size_t at, size_t first) const;
  size_t spaces_after(std::string_view text, size_t at) const;

  // A trie; node 0 is the root. Most texts hold no first byte of any token.
  std::unordered_map<uint64_t, uint32_t> next_;  // (node << 8 | byte)
  std::vector<const AddedToken*> ends_;          // by node
  std::array<bool, 256> first_bytes_{};
  unicode::ClassTable kinds_;
};

/// The id of each added token, checked against `vocabulary` (entry to id), as the package gives
/// them; mistakes go to the place's problems.
std::vector<AddedToken> read_added_tokens(
    const JsonPlace& root,
    const std::function<std::optional<int32_t>(std::string_view)>& vocabulary,
    int64_t vocabulary_size);

}  // namespace megalith

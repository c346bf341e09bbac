#include "megalith/tasks/wikitext_text.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

/// From left to right, never looking again at what was put in.
void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::string result;
  result.reserve(text.size());
  size_t at = 0;
  for (size_t next; (next = text.find(from, at)) != std::string::npos; at = next + from.size()) {
    result.append(text, at, next - at).append(to);
  }
  text = std::move(result.append(text, at, std::string::npos));
}

bool is_space(char32_t code) {
  // Python's notion, which upstream's rules are written in: Unicode's, and four separators.
  if (code >= 0x1C && code <= 0x1F) return true;
  const auto spaces = unicode::spaces();
  return std::any_of(spaces.begin(), spaces.end(), [&](const unicode::CodePointRange& range) {
    return code >= range.first && code <= range.last;
  });
}

/// Without the white space at both ends; well-formed UTF-8.
std::string_view stripped(std::string_view text) {
  while (!text.empty()) {
    const auto [code, length] = unicode::decode(text.data());
    if (!is_space(code)) break;
    text.remove_prefix(length);
  }
  while (!text.empty()) {
    size_t start = text.size() - 1;
    while ((static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    if (!is_space(unicode::decode(text.data() + start).code)) break;
    text.remove_suffix(text.size() - start);
  }
  return text;
}

/// Takes the white space inside pairs of marks away: "( a )" -> "(a)". A pair is an opening mark
/// and the next closing one, with whatever between.
void tighten_pairs(std::string& text, char open, char close) {
  std::string result;
  result.reserve(text.size());
  size_t at = 0;
  for (;;) {
    const size_t first = text.find(open, at);
    const size_t last = first == std::string::npos ? first : text.find(close, first + 1);
    if (last == std::string::npos) break;
    result.append(text, at, first + 1 - at);
    result.append(stripped(std::string_view(text).substr(first + 1, last - first - 1)));
    result += close;
    at = last + 1;
  }
  text = std::move(result.append(text, at, std::string::npos));
}

using Rule = std::pair<std::string_view, std::string_view>;
constexpr std::array<Rule, 10> kBeforePairs{{{"s '", "s'"},
                                             {" @-@ ", "-"},
                                             {" @,@ ", ","},
                                             {" @.@ ", "."},
                                             {" : ", ": "},
                                             {" ; ", "; "},
                                             {" . ", ". "},
                                             {" ! ", "! "},
                                             {" ? ", "? "},
                                             {" , ", ", "}}};
constexpr std::array<std::pair<char, char>, 5> kPairs{
    {{'(', ')'}, {'[', ']'}, {'{', '}'}, {'"', '"'}, {'\'', '\''}}};
constexpr std::array<Rule, 8> kAfterPairs{{{"= = = =", "===="},
                                           {"= = =", "==="},
                                           {"= =", "=="},
                                           {" \u00b0 ", "\u00b0"},
                                           {" \n", "\n"},
                                           {"\n ", "\n"},
                                           {" N ", " 1 "},
                                           {" 's", "'s"}}};

}  // namespace

std::string detokenize_wikitext(std::string text) {
  for (const auto& [from, to] : kBeforePairs) replace_all(text, from, to);
  for (const auto& [open, close] : kPairs) tighten_pairs(text, open, close);
  for (const auto& [from, to] : kAfterPairs) replace_all(text, from, to);
  return text;
}

int64_t count_original_tokens(std::string_view text) {
  const std::string_view words = stripped(text);
  return 1 + std::count(words.begin(), words.end(), ' ');
}

}  // namespace megalith

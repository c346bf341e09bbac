#include "megalith/tokenizer/regex_pattern.hpp"

#include <unicode/uregex.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>

#include <limits>
#include <vector>

#include "megalith/core/error.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

// Oniguruma's ^ and $ stand at every line, and only LF ends one.
constexpr uint32_t kFlags = UREGEX_MULTILINE | UREGEX_UNIX_LINES;

// Of some thousand moves each, for one match: about a second. Without it a nested quantifier hangs.
constexpr int32_t kMostSteps = 1000;

constexpr unicode::CodePointRange kJoiners{0x200C, 0x200D};  // a range of unicode::words()

struct Closer {
  void operator()(URegularExpression* regex) const { uregex_close(regex); }
};
using Handle = std::unique_ptr<URegularExpression, Closer>;

std::u16string to_utf16(std::string_view text) {
  std::u16string units;
  units.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const auto [code, length] = unicode::decode(text.data() + at);
    if (code < 0x10000) {
      units += static_cast<char16_t>(code);
    } else {
      units += U16_LEAD(code);
      units += U16_TRAIL(code);
    }
    at += length;
  }
  return units;
}

std::string set_of(std::span<const unicode::CodePointRange> ranges) {
  std::string set;
  for (const auto& range : ranges) {
    set += fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", static_cast<uint32_t>(range.first),
                       static_cast<uint32_t>(range.last));
  }
  return set;
}

/// The categories whose names begin so ("L", "Lu"), or nothing. Cn, what is in none of them, is
/// not known.
std::string categories_of(std::string_view name) {
  std::string set;
  for (const auto& [category, ranges] : unicode::categories()) {
    if (category.starts_with(name)) set += set_of(ranges);
  }
  return name == "C" ? "" : set;
}

/// Oniguruma's \w, without the two joiners; outside brackets it holds the numbers of Latin-1.
std::string word_characters(bool within_brackets) {
  std::string set = within_brackets ? "" : "\\xb2\\xb3\\xb9\\xbc-\\xbe";
  for (const auto& range : unicode::words()) {
    if (range.first != kJoiners.first) set += set_of({&range, 1});
  }
  return set;
}

/// The expression as ICU is to see it.
class Translation {
 public:
  explicit Translation(const std::string& expression) : in_(expression) {}

  std::string translate() {
    while (at_ < in_.size()) {
      if (in_[at_] == '\\') {
        escape();
      } else if (in_.compare(at_, 3, "(?~") == 0) {
        refuse("(?~");
      } else if (depth_ > 0 && (in_.compare(at_, 2, "[:") == 0 || in_.compare(at_, 2, "&&") == 0 ||
                                in_.compare(at_, 2, "--") == 0)) {
        refuse(in_.substr(at_, 2) + " within brackets");
      } else {
        bracket(in_[at_]);
        out_ += in_[at_++];
      }
    }
    return out_;
  }

 private:
  void bracket(char c) {
    if (c == '[') {
      if (in_.compare(at_, 2, "[]") == 0 || in_.compare(at_, 3, "[^]") == 0) {
        refuse("a ] that opens a bracket");
      }
      ++depth_;
    } else if (c == ']' && depth_ > 0) {
      --depth_;
    }
  }

  [[noreturn]] static void refuse(const std::string& construct) {
    throw UsageError(
        "it holds {}, which is not supported, as two libraries read it differently; supported are "
        "literals, groups, look-around, quantifiers, brackets, \\s \\d \\w \\r \\n \\t \\f \\v "
        "\\x \\u \\p and their opposites",
        construct);
  }

  void escape() {
    if (at_ + 1 >= in_.size()) throw UsageError("it ends in a backslash");
    const char letter = in_[at_ + 1];
    if (letter == 's' || letter == 'S') {
      out_ += class_text(set_of(unicode::spaces()), letter == 'S');
      at_ += 2;
    } else if (letter == 'd' || letter == 'D') {
      out_ += class_text(categories_of("Nd"), letter == 'D');
      at_ += 2;
    } else if (letter == 'w' || letter == 'W') {
      out_ += class_text(word_characters(depth_ > 0), letter == 'W');
      at_ += 2;
    } else if (letter == 'v') {  // one character here, a class in ICU
      out_ += "\\x{b}";
      at_ += 2;
    } else if (letter == 'p' || letter == 'P') {
      property();
    } else if (is_letter_or_digit(letter) &&
               std::string_view("rntfxu").find(letter) == std::string_view::npos) {
      refuse(in_.substr(at_, 2));
    } else {
      out_ += in_.substr(at_, 2);
      at_ += 2;
    }
  }

  static std::string class_text(const std::string& set, bool negated) {
    return fmt::format("[{}{}]", negated ? "^" : "", set);
  }

  void property() {
    const size_t close = in_.find('}', at_);
    if (at_ + 2 >= in_.size() || in_[at_ + 2] != '{' || close == std::string::npos) {
      throw UsageError("a property is written \\p{{L}}, with braces");
    }
    std::string name = in_.substr(at_ + 3, close - at_ - 3);
    bool negated = in_[at_ + 1] == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.erase(0, 1);
    }
    const std::string set = categories_of(name);
    out_ += set.empty() ? fmt::format("\\{}{{{}}}", negated ? 'P' : 'p', name)
                        : class_text(set, negated);
    at_ = close + 1;
  }

  static bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  }

  const std::string& in_;
  std::string out_;
  size_t at_ = 0;
  int depth_ = 0;
};

void check(UErrorCode status, const char* what) {
  if (U_FAILURE(status)) {
    throw UsageError("{}: ICU says {}", what, u_errorName(status));
  }
}

}  // namespace

struct RegexPattern::State {
  Handle regex;
};

RegexPattern::RegexPattern(const std::string& expression) {
  const std::u16string pattern = to_utf16(Translation(expression).translate());
  UParseError place{};
  UErrorCode status = U_ZERO_ERROR;
  Handle regex(
      uregex_open(pattern.data(), static_cast<int32_t>(pattern.size()), kFlags, &place, &status));
  check(status, "it is no regular expression");
  state_ = std::make_unique<State>();
  state_->regex = std::move(regex);
}

RegexPattern::~RegexPattern() = default;
RegexPattern::RegexPattern(RegexPattern&&) noexcept = default;

void RegexPattern::each_match(std::string_view text, const Visit& visit) const {
  UErrorCode status = U_ZERO_ERROR;
  const Handle regex(uregex_clone(state_->regex.get(), &status));  // a match is a state
  const std::u16string units = to_utf16(text);
  if (units.size() > std::numeric_limits<int32_t>::max()) {
    throw UsageError("a text of {} characters is too long for a pattern of the tokenizer",
                     units.size());
  }
  uregex_setTimeLimit(regex.get(), kMostSteps, &status);
  uregex_setText(regex.get(), units.data(), static_cast<int32_t>(units.size()), &status);
  size_t byte = 0;
  int32_t unit = 0;
  const auto byte_of = [&](int32_t wanted) {
    while (unit < wanted) {
      const auto [code, length] = unicode::decode(text.data() + byte);
      byte += length;
      unit += code < 0x10000 ? 1 : 2;
    }
    return byte;
  };
  while (uregex_findNext(regex.get(), &status)) {
    const size_t begin = byte_of(uregex_start(regex.get(), 0, &status));
    visit(begin, byte_of(uregex_end(regex.get(), 0, &status)));
  }
  check(status, "a pattern of the tokenizer gave up on a text");
}

void each_occurrence(std::string_view text, std::string_view literal,
                     const RegexPattern::Visit& visit) {
  for (size_t at = text.find(literal); at != std::string_view::npos;
       at = text.find(literal, at + literal.size())) {
    visit(at, at + literal.size());
  }
}

}  // namespace megalith

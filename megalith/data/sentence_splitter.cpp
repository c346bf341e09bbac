#include "megalith/data/sentence_splitter.hpp"

#include <unicode/brkiter.h>
#include <unicode/locid.h>
#include <unicode/utext.h>

#include <cstdint>
#include <limits>
#include <utility>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

constexpr size_t kMaxParagraphBytes = std::numeric_limits<int32_t>::max();  // ICU's offsets
constexpr std::string_view kSpaces = " \t\r\n\v\f";

/// Upstream's names (those of the Punkt models) and the codes ICU knows them by.
constexpr std::pair<const char*, const char*> kLanguages[] = {
    {"czech", "cs"},    {"danish", "da"},     {"dutch", "nl"},     {"english", "en"},
    {"estonian", "et"}, {"finnish", "fi"},    {"french", "fr"},    {"german", "de"},
    {"greek", "el"},    {"italian", "it"},    {"malayalam", "ml"}, {"norwegian", "nb"},
    {"polish", "pl"},   {"portuguese", "pt"}, {"russian", "ru"},   {"slovene", "sl"},
    {"spanish", "es"},  {"swedish", "sv"},    {"turkish", "tr"}};

icu::Locale find_locale(const std::string& language) {
  std::vector<std::string> names;
  for (const auto& [name, code] : kLanguages) {
    if (language == name || language == code) return icu::Locale(code);
    names.emplace_back(name);
  }
  throw UsageError("--lang {}: not known; expected one of {}", language, fmt::join(names, ", "));
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

/// Line ends become spaces. With `same_length` offsets keep their meaning: CR LF gives two spaces.
std::string fold_lines(std::string_view paragraph, bool same_length) {
  std::string folded;
  folded.reserve(paragraph.size());
  for (size_t i = 0; i < paragraph.size(); ++i) {
    const char c = paragraph[i];
    const bool before_lf = c == '\r' && i + 1 < paragraph.size() && paragraph[i + 1] == '\n';
    if (before_lf && !same_length) continue;
    folded += c == '\n' || c == '\r' ? ' ' : c;
  }
  return folded;
}

/// The length of the first paragraph of `text`, with the blank lines behind it.
size_t paragraph_length(std::string_view text) {
  bool blank_seen = false, text_seen = false;
  for (size_t start = 0; start < text.size();) {
    const size_t mark = text.find('\n', start);
    const size_t end = mark == std::string_view::npos ? text.size() : mark + 1;
    const bool blank = trimmed(text.substr(start, end - start)).empty();
    if (!blank && blank_seen && text_seen) return start;
    blank_seen = blank;
    text_seen = text_seen || !blank;
    start = end;
  }
  return text.size();
}

}  // namespace

struct SentenceSplitter::State {
  bool keep_newlines = false;
  std::unique_ptr<icu::BreakIterator> breaks;
};

SentenceSplitter::SentenceSplitter(const std::string& language, bool keep_newlines)
    : state_(std::make_unique<State>()) {
  state_->keep_newlines = keep_newlines;
  UErrorCode status = U_ZERO_ERROR;
  state_->breaks.reset(icu::BreakIterator::createSentenceInstance(find_locale(language), status));
  if (U_FAILURE(status)) {
    throw RunError("ICU cannot make its sentence rules for {}: {}", language, u_errorName(status));
  }
}

SentenceSplitter::~SentenceSplitter() = default;

std::vector<std::string> SentenceSplitter::split(std::string_view text) {
  std::vector<std::string> sentences;
  const size_t last = text.find_last_not_of(kSpaces);
  text = text.substr(0, last == std::string_view::npos ? 0 : last + 1);
  while (!text.empty()) {
    const size_t length = paragraph_length(text);
    split_paragraph(text.substr(0, length), sentences);
    text.remove_prefix(length);
  }
  return sentences;
}

void SentenceSplitter::split_paragraph(std::string_view paragraph,
                                       std::vector<std::string>& sentences) {
  if (paragraph.size() > kMaxParagraphBytes) {
    throw RunError(
        "a paragraph of {} bytes; sentences are found in at most {}: separate it by blank lines",
        paragraph.size(), kMaxParagraphBytes);
  }
  const std::string folded = fold_lines(paragraph, state_->keep_newlines);
  UErrorCode status = U_ZERO_ERROR;
  UText* view =
      utext_openUTF8(nullptr, folded.data(), static_cast<int64_t>(folded.size()), &status);
  state_->breaks->setText(view, status);
  if (U_FAILURE(status)) {
    utext_close(view);
    throw RunError("ICU cannot read a paragraph of {} bytes: {}", folded.size(),
                   u_errorName(status));
  }
  const std::string_view source = state_->keep_newlines ? paragraph : std::string_view(folded);
  int32_t start = state_->breaks->first();
  for (int32_t end = state_->breaks->next(); end != icu::BreakIterator::DONE;
       start = end, end = state_->breaks->next()) {
    const auto piece = source.substr(static_cast<size_t>(start), static_cast<size_t>(end - start));
    const auto sentence = state_->keep_newlines ? piece : trimmed(piece);
    if (!sentence.empty()) sentences.emplace_back(sentence);
  }
  utext_close(view);
}

}  // namespace megalith

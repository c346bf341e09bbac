#include "megalith/tokenizer/word_piece.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "megalith/core/atomic_file.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

constexpr size_t kLongestWord = 100;  // characters, as in BERT's code
constexpr std::string_view kContinuation = "##";
constexpr int kUpstreamExtraIds = 100;

}  // namespace

WordPieceTokenizer::WordPieceTokenizer(const std::string& vocab_file, LetterCase letter_case)
    : vocab_file_(vocab_file), letter_case_(letter_case), splitter_(letter_case) {
  const std::string text = read_text_file(vocab_file);
  std::string repaired;
  if (unicode::well_formed(text, repaired).data() != text.data()) {
    throw UsageError("--vocab-file {}: not UTF-8; expected BERT's vocab.txt, one entry a line",
                     vocab_file);
  }
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string token(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (token.ends_with('\r')) token.pop_back();
    const auto id = static_cast<int32_t>(tokens_.size());
    if (!beginnings_.emplace(token, id).second) {
      throw UsageError(
          "--vocab-file {}, line {}: '{}' stands there twice; every line is an entry "
          "of its own",
          vocab_file, id + 1, token);
    }
    if (token.starts_with(kContinuation)) {
      continuations_.emplace(token.substr(kContinuation.size()), id);
    }
    longest_bytes_ = std::max(longest_bytes_, token.size());
    tokens_.push_back(std::move(token));
  }
  const auto unknown = token_id("[UNK]");
  if (!unknown) {
    throw UsageError("--vocab-file {}: has no line [UNK] among {}; expected BERT's vocab.txt",
                     vocab_file, tokens_.size());
  }
  unknown_ = *unknown;
}

void WordPieceTokenizer::append_ids(std::string_view text, std::vector<int32_t>& ids) const {
  std::string repaired;
  splitter_.split(unicode::well_formed(text, repaired),
                  [&](std::u32string_view word) { append_word(word, ids); });
}

std::vector<TextPiece> WordPieceTokenizer::pieces(std::string_view text) const {
  std::string repaired;
  if (unicode::well_formed(text, repaired).data() != text.data()) {
    throw UsageError("the text \"{}...\" is not UTF-8", repaired.substr(0, 40));
  }
  std::vector<TextPiece> pieces;
  std::vector<int32_t> ids;
  std::vector<size_t> sizes;
  splitter_.split_with_sources(
      text, [&](std::u32string_view word, std::span<const ByteRange> sources) {
        ids.clear();
        sizes.clear();
        append_word(word, ids, &sizes);
        size_t begin = 0;
        for (size_t i = 0; i < ids.size(); ++i) {
          const size_t end = begin + sizes[i];
          pieces.push_back({ids[i], {sources[begin].begin, sources[end - 1].end}});
          begin = end;
        }
      });
  return pieces;
}

/// `sizes`, where wanted, takes the number of characters of every piece.
void WordPieceTokenizer::append_word(std::u32string_view word, std::vector<int32_t>& ids,
                                     std::vector<size_t>* sizes) const {
  const size_t first_id = ids.size();
  const auto give_up = [&] {
    ids.resize(first_id);
    ids.push_back(unknown_);
    if (sizes != nullptr) sizes->assign(1, word.size());
  };
  if (word.size() > kLongestWord) return give_up();
  std::string bytes;
  for (const char32_t code : word) unicode::append_utf8(bytes, code);
  const auto in_character = [&](size_t at) {
    return at < bytes.size() && (static_cast<uint8_t>(bytes[at]) & 0xC0) == 0x80;
  };
  for (size_t begin = 0; begin < bytes.size();) {
    const Ids& known = begin == 0 ? beginnings_ : continuations_;
    size_t end = std::min(bytes.size(), begin + longest_bytes_);
    auto found = known.end();
    for (; end > begin; --end) {
      if (in_character(end)) continue;
      found = known.find(std::string_view(bytes).substr(begin, end - begin));
      if (found != known.end()) break;
    }
    if (found == known.end()) return give_up();
    ids.push_back(found->second);
    if (sizes != nullptr) {
      size_t size = 0;
      for (size_t at = begin; at < end; ++at) size += in_character(at) ? 0 : 1;
      sizes->push_back(size);
    }
    begin = end;
  }
}

std::string WordPieceTokenizer::decode_bytes(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) {
    check_id(id);
    const std::string& token = tokens_[static_cast<size_t>(id)];
    const bool continues = token.starts_with(kContinuation) && !text.empty();
    if (!continues && !text.empty()) text += ' ';
    text += continues ? token.substr(kContinuation.size()) : token;
  }
  return text;
}

std::optional<int32_t> WordPieceTokenizer::token_id(std::string_view token) const {
  const auto found = beginnings_.find(token);
  return found == beginnings_.end() ? std::nullopt : std::optional(found->second);
}

std::string WordPieceTokenizer::name() const {
  return letter_case_ == LetterCase::kLower ? "BertWordPieceLowerCase" : "BertWordPieceCase";
}

nlohmann::ordered_json WordPieceTokenizer::description() const {
  std::string special;  // upstream lists 100 sentinels for the cased vocabulary; ours has none
  for (int i = 0; letter_case_ == LetterCase::kKeep && i < kUpstreamExtraIds; ++i) {
    special += fmt::format("{}'<extra_id_{}>'", i == 0 ? "" : ", ", i);
  }
  return {{"class", "megatron.core.tokenizers.text.text_tokenizer.MegatronTokenizerText"},
          {"tokenizer_path", name()},
          {"additional_special_tokens", "[" + special + "]"},
          {"vocab_file", vocab_file_},
          {"merges_file", "None"},
          {"use_fast", "True"},
          {"trust_remote_code", "False"},
          {"include_special_tokens", "True"},
          {"use_gigatoken", "False"}};
}

}  // namespace megalith

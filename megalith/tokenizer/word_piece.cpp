#include "megalith/tokenizer/word_piece.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "megalith/core/atomic_file.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

constexpr std::string_view kContinuation = "##";
constexpr int kUpstreamExtraIds = 100;

std::vector<std::string> read_entries(const std::string& vocab_file) {
  const std::string text = read_text_file(vocab_file);
  std::string repaired;
  if (unicode::well_formed(text, repaired).data() != text.data()) {
    throw UsageError("--vocab-file {}: not UTF-8; expected BERT's vocab.txt, one entry a line",
                     vocab_file);
  }
  std::vector<std::string> entries;
  std::unordered_set<std::string> seen;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string entry(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (entry.ends_with('\r')) entry.pop_back();
    if (!seen.insert(entry).second) {
      throw UsageError(
          "--vocab-file {}, line {}: '{}' stands there twice; every line is an entry "
          "of its own",
          vocab_file, entries.size() + 1, entry);
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

WordPieceEncoder make_encoder(const std::string& vocab_file) {
  std::vector<std::string> entries = read_entries(vocab_file);
  const auto unknown = std::find(entries.begin(), entries.end(), "[UNK]");
  if (unknown == entries.end()) {
    throw UsageError("--vocab-file {}: has no line [UNK] among {}; expected BERT's vocab.txt",
                     vocab_file, entries.size());
  }
  const auto id = static_cast<int32_t>(unknown - entries.begin());
  return WordPieceEncoder(std::move(entries), {.unknown = id});
}

BertCleaning cleaning_of(LetterCase letter_case) {
  const bool lower = letter_case == LetterCase::kLower;
  return {.strip_accents = lower, .lower_case = lower};
}

}  // namespace

WordPieceTokenizer::WordPieceTokenizer(const std::string& vocab_file, LetterCase letter_case)
    : vocab_file_(vocab_file),
      letter_case_(letter_case),
      normalizer_(cleaning_of(letter_case)),
      encoder_(make_encoder(vocab_file)) {}

void WordPieceTokenizer::append_ids(std::string_view text, std::vector<int32_t>& ids) const {
  std::string repaired;
  SourcedText normal{std::string(unicode::well_formed(text, repaired)), {}};
  normalizer_.apply(normal);
  splitter_.split(normal.text, [&](std::string_view word) { encoder_.append_word(word, ids); });
}

std::vector<TextPiece> WordPieceTokenizer::pieces(std::string_view text) const {
  std::string repaired;
  if (unicode::well_formed(text, repaired).data() != text.data()) {
    throw UsageError("the text \"{}...\" is not UTF-8", repaired.substr(0, 40));
  }
  SourcedText normal = SourcedText::itself(std::string(text));
  normalizer_.apply(normal);
  std::vector<TextPiece> pieces;
  std::vector<int32_t> ids;
  std::vector<size_t> sizes;
  splitter_.split(normal.text, [&](std::string_view word) {
    ids.clear();
    sizes.clear();
    encoder_.append_word(word, ids, &sizes);
    const ByteRange* first = &normal.sources[static_cast<size_t>(word.data() - normal.text.data())];
    for (size_t i = 0; i < ids.size(); ++i) {
      const ByteRange* const end = first + sizes[i];
      pieces.push_back({ids[i], {first->begin, end[-1].end}});
      first = end;
    }
  });
  return pieces;
}

std::string WordPieceTokenizer::decode_bytes(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) {
    check_id(id);
    const std::string& token = encoder_.entries()[static_cast<size_t>(id)];
    const bool continues = token.starts_with(kContinuation) && !text.empty();
    if (!continues && !text.empty()) text += ' ';
    text += continues ? token.substr(kContinuation.size()) : token;
  }
  return text;
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

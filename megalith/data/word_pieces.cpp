#include "megalith/data/word_pieces.hpp"

#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

constexpr std::string_view kContinuation = "##";
constexpr int64_t kMockSpecialIds = 5;  // as in the golden vocabularies: pad, unk, cls, sep, mask

/// [CLS], [unused7]: no text gives them.
bool in_brackets(std::string_view text) {
  return text.size() > 2 && text.starts_with('[') && text.ends_with(']');
}

[[noreturn]] void refuse(const Tokenizer& tokenizer, const std::vector<std::string>& missing) {
  const bool of_bert = tokenizer.name().starts_with("Bert");
  const std::string source =
      of_bert ? "--vocab-file " + tokenizer.description().at("vocab_file").get<std::string>()
              : "--tokenizer-type " + tokenizer.name();
  throw UsageError("{} has no {}, which BERT's samples are made with; {}", source,
                   fmt::join(missing, ", "),
                   of_bert ? "give BERT's vocab.txt, which has each on a line of its own"
                           : "give BertWordPieceLowerCase or BertWordPieceCase with BERT's "
                             "vocab.txt (--vocab-file), or BERT's tokenizer.json "
                             "(HuggingFaceTokenizer, --tokenizer-model)");
}

}  // namespace

WordPieces word_pieces_of(const Tokenizer& tokenizer) {
  WordPieces pieces;
  const std::array<std::pair<const char*, int64_t*>, 4> wanted = {{{"[CLS]", &pieces.cls},
                                                                   {"[SEP]", &pieces.sep},
                                                                   {"[MASK]", &pieces.mask},
                                                                   {"[PAD]", &pieces.pad}}};
  std::vector<std::string> missing;
  for (const auto& [text, id] : wanted) {
    const auto found = tokenizer.token_id(text);
    if (found) {
      *id = *found;
    } else {
      missing.emplace_back(text);
    }
  }
  if (!missing.empty()) refuse(tokenizer, missing);
  pieces.continues_word.resize(static_cast<size_t>(tokenizer.vocab_size()));
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string text = tokenizer.decode_bytes(std::array{id});
    pieces.continues_word[static_cast<size_t>(id)] = text.starts_with(kContinuation) ? 1 : 0;
    if (!in_brackets(text)) pieces.ordinary.push_back(id);
  }
  return pieces;
}

WordPieces mock_word_pieces(int64_t vocab_size) {
  if (vocab_size <= kMockSpecialIds) {
    throw UsageError("--mock-data: a vocabulary of {} leaves no word beside {} special ids",
                     vocab_size, kMockSpecialIds);
  }
  WordPieces pieces{.cls = 2, .sep = 3, .mask = 4, .pad = 0, .continues_word = {}, .ordinary = {}};
  pieces.continues_word.resize(static_cast<size_t>(vocab_size));
  for (int64_t id = kMockSpecialIds; id < vocab_size; ++id) pieces.ordinary.push_back(id);
  return pieces;
}

std::shared_ptr<const WordPieces> make_word_pieces(const Tokenizer* tokenizer, int64_t vocab_size,
                                                   bool mock_data) {
  const bool made_up = mock_data && (tokenizer == nullptr || !tokenizer->token_id("[CLS]"));
  if (made_up) return std::make_shared<WordPieces>(mock_word_pieces(vocab_size));
  return tokenizer ? std::make_shared<WordPieces>(word_pieces_of(*tokenizer)) : nullptr;
}

}  // namespace megalith

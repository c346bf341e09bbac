#include "megalith/tokenizer/tokenizer_file.hpp"

#include <algorithm>
#include <filesystem>
#include <limits>

#include "megalith/tokenizer/byte_alphabet.hpp"
#include "megalith/tokenizer/tokenizer.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

constexpr const char* kWhat = "a tokenizer.json of the tokenizers package";
constexpr size_t kMostShown = 10;  // of mistakes of one kind

/// Complains about the first few, then says how many more there are.
class Complaints {
 public:
  explicit Complaints(const JsonPlace& place) : place_(place) {}
  ~Complaints() {
    if (count_ > kMostShown)
      place_.complain(fmt::format("and {} more like it", count_ - kMostShown));
  }
  Complaints(const Complaints&) = delete;
  Complaints& operator=(const Complaints&) = delete;

  void add(const std::string& text) { add(place_, text); }
  void add(const JsonPlace& place, const std::string& text) {
    if (++count_ <= kMostShown) place.complain(text);
  }

 private:
  const JsonPlace& place_;
  size_t count_ = 0;
};

/// The model's entries. Ids are checked later, when the added tokens are known.
TokenIdMap read_vocabulary(const JsonPlace& model) {
  TokenIdMap ids;
  const auto place = model.require("vocab");
  if (!place) return ids;
  simdjson::dom::object entries;
  if (place->value().get(entries)) {
    place->complain(fmt::format("expected an object of token: id, got {}", shown(place->value())));
    return ids;
  }
  ids.reserve(entries.size());
  Complaints complaints(*place);
  for (const auto entry : entries) {
    int64_t id = 0;
    if (entry.value.get(id) || id < 0 || id > std::numeric_limits<int32_t>::max()) {
      complaints.add(fmt::format("the id of '{}' is {}; expected a whole number", entry.key,
                                 shown(entry.value)));
    } else if (!ids.emplace(entry.key, static_cast<int32_t>(id)).second) {
      complaints.add(fmt::format("'{}' stands there twice", entry.key));
    }
  }
  return ids;
}

/// Fills parts.tokens from parts.ids, which must be 0 to n - 1, each once.
void order_tokens(const JsonPlace& root, TokenizerParts& parts) {
  const size_t size = parts.ids.size();
  std::vector<const std::string*> owners(size, nullptr);
  const JsonPlace model = root.find("model").value_or(root);
  if (size == 0) model.complain_about("vocab", "is empty, and there are no added tokens");
  std::vector<std::string> mistakes;  // sorted, since the map has no order
  for (const auto& [token, id] : parts.ids) {
    const auto index = static_cast<size_t>(id);
    if (index >= size) {
      mistakes.push_back(
          fmt::format("'{}' has the id {}, but {} entries need the ids 0 to {} without holes",
                      token, id, size, size - 1));
    } else if (owners[index] != nullptr) {
      mistakes.push_back(fmt::format("the id {} is shared by '{}' and '{}'", id,
                                     std::min(token, *owners[index]),
                                     std::max(token, *owners[index])));
    } else {
      owners[index] = &token;
    }
  }
  std::sort(mistakes.begin(), mistakes.end());
  Complaints complaints(model);
  for (const auto& mistake : mistakes) complaints.add(mistake);
  if (!mistakes.empty()) return;
  for (const std::string* token : owners) parts.tokens.push_back(*token);
}

/// Both parts of a merge: "a b" or ["a", "b"].
std::optional<std::pair<std::string, std::string>> merge_parts(
    const simdjson::dom::element& merge) {
  std::string_view text;
  if (!merge.get(text)) {
    const size_t space = text.find(' ');
    const bool two = space != std::string_view::npos && space > 0 && space + 1 < text.size() &&
                     text.find(' ', space + 1) == std::string_view::npos;
    if (!two) return std::nullopt;
    return std::pair(std::string(text.substr(0, space)), std::string(text.substr(space + 1)));
  }
  simdjson::dom::array pair;
  std::string_view left, right;
  if (merge.get(pair) || pair.size() != 2 || pair.at(0).get(left) || pair.at(1).get(right)) {
    return std::nullopt;
  }
  return std::pair(std::string(left), std::string(right));
}

std::vector<BytePairMerge> read_merges(const JsonPlace& model, const TokenIdMap& ids) {
  std::vector<BytePairMerge> merges;
  const auto place = model.require("merges");
  if (!place) return merges;
  simdjson::dom::array list;
  if (place->value().get(list)) {
    place->complain(fmt::format("expected a list, got {}", shown(place->value())));
    return merges;
  }
  Complaints complaints(*place);
  size_t number = 0;
  for (const auto merge : list) {
    const size_t index = number++;
    std::string_view text;
    if (!merge.get(text) && text.starts_with("#version")) continue;
    const auto parts = merge_parts(merge);
    if (!parts) {
      complaints.add(fmt::format("[{}]: expected \"left right\" or [\"left\", \"right\"], got {}",
                                 index, shown(merge)));
      continue;
    }
    const auto& [left, right] = *parts;
    const std::string whole = left + right;
    const std::string* missing = nullptr;
    for (const std::string* part : {&whole, &right, &left}) {
      if (!ids.contains(*part)) missing = part;
    }
    if (missing != nullptr) {
      complaints.add(fmt::format("[{}]: '{}' + '{}': the vocabulary has no '{}'", index, left,
                                 right, *missing));
      continue;
    }
    merges.push_back({ids.find(left)->second, ids.find(right)->second, ids.find(whole)->second});
  }
  return merges;
}

void refuse_unless_empty(const JsonPlace& model, std::string_view key) {
  const auto found = model.find(key);
  if (found && found->text() != "") {
    found->complain(fmt::format("{} is not supported; only null is", shown(found->value())));
  }
}

struct BytePairDraft {
  std::vector<BytePairMerge> merges;
  BytePairOptions options;
};

BytePairDraft read_byte_pairs(const JsonPlace& model, const TokenIdMap& ids, bool byte_level,
                              const std::string& name) {
  refuse_unless_empty(model, "continuing_subword_prefix");
  refuse_unless_empty(model, "end_of_word_suffix");
  if (const auto dropout = model.find("dropout")) {
    double rate = 0;
    if (dropout->value().get(rate) || rate != 0) {
      dropout->complain(fmt::format("{}: merges left out at random are not supported; only null is",
                                    shown(dropout->value())));
    }
  }
  BytePairDraft draft;
  BytePairOptions& options = draft.options;
  options.source = name;
  options.symbols =
      byte_level ? BytePairOptions::Symbols::kBytes : BytePairOptions::Symbols::kCharacters;
  options.fuse_unknown = model.flag("fuse_unk", false);
  options.ignore_merges = model.flag("ignore_merges", false);
  if (model.find("unk_token")) {
    const auto found = ids.find(model.text("unk_token"));
    if (found != ids.end()) options.unknown = found->second;
  }
  if (model.flag("byte_fallback", false)) {
    for (int byte = 0; byte < 256; ++byte) {
      const auto found = ids.find(fmt::format("<0x{:02X}>", byte));
      options.fallback_ids.push_back(found == ids.end() ? -1 : found->second);
    }
    if (byte_level) {
      model.complain_about("byte_fallback", "true is not supported together with ByteLevel");
    }
  }
  draft.merges = read_merges(model, ids);
  return draft;
}

WordPieceOptions read_word_piece(const JsonPlace& model, const TokenIdMap& ids) {
  WordPieceOptions options;
  options.continuation = model.text("continuing_subword_prefix");
  options.longest_word = model.whole_number("max_input_chars_per_word");
  const std::string unknown = model.text("unk_token");
  const auto found = ids.find(unknown);
  if (found != ids.end()) {
    options.unknown = found->second;
  } else if (model.find("unk_token")) {
    model.complain_about("unk_token", fmt::format("the vocabulary has no '{}'", unknown));
  }
  return options;
}

/// Old files name no type.
std::string model_type(const JsonPlace& model) {
  if (model.is_object() && !model.find("type")) {
    if (model.find("merges")) return "BPE";
    if (model.find("max_input_chars_per_word")) return "WordPiece";
  }
  return model.type("model", {"BPE", "WordPiece"});
}

/// What an entry of a byte-level vocabulary stands for within a piece.
std::vector<std::string> entries_within_pieces(const TokenIdMap& model_ids, size_t size,
                                               bool byte_level) {
  const ByteAlphabet alphabet;
  std::vector<std::string> entries(size);
  for (const auto& [token, id] : model_ids) {
    entries[static_cast<size_t>(id)] = byte_level ? alphabet.bytes(token).value_or("") : token;
  }
  return entries;
}

void note_what_is_not_done(const JsonPlace& root, const std::string& name, TokenizerParts& parts) {
  if (const auto truncation = root.find("truncation")) {
    parts.notices.push_back(fmt::format(
        "{} asks for truncation (to {}), which is not applied: texts keep their length", name,
        truncation->find("max_length") ? shown(truncation->find("max_length")->value()) : "?"));
  }
  if (const auto padding = root.find("padding")) {
    parts.notices.push_back(
        fmt::format("{} asks for padding, which is not applied: texts keep their length", name));
    if (padding->find("pad_token")) parts.pad_token = padding->text("pad_token");
  }
}

}  // namespace

std::string tokenizer_file(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::string file = path;
  if (fs::is_directory(path, error)) {
    file = (fs::path(path) / "tokenizer.json").string();
    if (!fs::exists(file, error)) {
      for (const auto& entry : fs::directory_iterator(path)) {
        if (entry.path().extension() == ".model") file = entry.path().string();
      }
    }
  }
  if (file.ends_with(".model")) {
    throw UsageError(
        "--tokenizer-model {}: a SentencePiece or tiktoken model is not read; turn it into a "
        "tokenizer.json with Python: transformers.AutoTokenizer.from_pretrained(FOLDER)"
        ".save_pretrained(FOLDER), and give that",
        file);
  }
  return file;
}

TokenizerParts read_tokenizer_parts(const std::string& json, const std::string& name) {
  simdjson::dom::parser parser;
  Problems problems;
  const JsonPlace root(parse_json(parser, json, name, kWhat), name, problems);
  const auto model = root.find("model");
  if (!model || !model->is_object()) {
    throw UsageError("{}: has no model; expected {}", name, kWhat);
  }
  TokenizerParts parts;
  if (root.find("version") && root.text("version") != "1.0") {
    root.complain_about("version",
                        fmt::format("'{}' is not known; expected 1.0", root.text("version")));
  }
  if (root.find("version")) root.choice("version", {"1.0"});
  if (const auto place = root.find("normalizer")) parts.normalizers = read_normalizer(*place);
  if (const auto place = root.find("pre_tokenizer")) parts.pre_tokenizer = PreTokenizer(*place);
  if (const auto place = root.find("decoder")) parts.decoder = TokenDecoder(*place);

  const std::string type = model_type(*model);
  TokenIdMap model_ids = type.empty() ? TokenIdMap() : read_vocabulary(*model);
  const auto find = [&](std::string_view token) -> std::optional<int32_t> {
    const auto found = model_ids.find(token);
    return found == model_ids.end() ? std::nullopt : std::optional(found->second);
  };
  const bool byte_level = parts.pre_tokenizer.byte_level();
  if (type == "WordPiece" && byte_level) {
    root.complain_about("pre_tokenizer", "ByteLevel is not supported together with WordPiece");
  }
  BytePairDraft pairs;
  WordPieceOptions word_piece;
  if (type == "BPE") pairs = read_byte_pairs(*model, model_ids, byte_level, name);
  if (type == "WordPiece") word_piece = read_word_piece(*model, model_ids);
  if (!type.empty()) {
    parts.added = read_added_tokens(root, find, static_cast<int64_t>(model_ids.size()));
    parts.ids = model_ids;
    for (const auto& token : parts.added) parts.ids.emplace(token.content, token.id);
    order_tokens(root, parts);
  }
  note_what_is_not_done(root, name, parts);
  problems.raise_if_any();

  auto entries = entries_within_pieces(model_ids, parts.tokens.size(), byte_level);
  if (type == "BPE") {
    parts.model.emplace(
        BytePairEncoder(std::move(entries), pairs.merges, std::move(pairs.options)));
  } else {
    parts.model.emplace(WordPieceEncoder(std::move(entries), std::move(word_piece)));
  }
  return parts;
}

}  // namespace megalith

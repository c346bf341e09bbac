#include "megalith/tokenizer/byte_pair_encoder.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "megalith/core/error.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

using Symbols = BytePairOptions::Symbols;

constexpr char32_t kWordMark = 0x2581;
constexpr std::string_view kWordMarkText = "\u2581";

template <class Word>
uint64_t load(const char* at) {
  Word word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

uint64_t mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a ^ 0x9E3779B97F4A7C15ULL) *
                       (b ^ 0xD1B54A32D192ED03ULL);  // odd constants of random-looking bits
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

/// Most pieces have fewer than 9 bytes, which are two loads.
uint64_t hash_of(std::string_view piece) {
  const char* at = piece.data();
  const size_t size = piece.size();
  if (size <= 3) {
    const auto byte = [at](size_t i) { return static_cast<uint64_t>(static_cast<uint8_t>(at[i])); };
    return mix(byte(0) | byte(size / 2) << 8 | byte(size - 1) << 16, size);
  }
  if (size <= 8) return mix(load<uint32_t>(at), load<uint32_t>(at + size - 4) << 8 | size);
  uint64_t hash = size;
  for (size_t i = 0; i + 8 < size; i += 8) hash = mix(hash, load<uint64_t>(at + i));
  return mix(hash, load<uint64_t>(at + size - 8));
}

/// Where a word ends that begins at `begin`: before a mark that follows anything but a mark.
size_t word_end(std::string_view piece, size_t begin) {
  size_t at = begin;
  while (piece.substr(at).starts_with(kWordMarkText)) at += kWordMarkText.size();
  return std::min(piece.find(kWordMarkText, at), piece.size());
}

}  // namespace

BytePairEncoder::BytePairEncoder(std::vector<std::string> entries,
                                 const std::vector<BytePairMerge>& merges, BytePairOptions options)
    : entries_(std::move(entries)), merges_(merges), options_(std::move(options)) {
  index_symbols();
  index_whole_pieces();
  // Whole pieces come before words where merges are ignored; and an unknown mark could be fused
  // with what stands before it.
  cuts_at_words_ = options_.symbols == Symbols::kCharacters && !options_.ignore_merges &&
                   character_id(kWordMark) >= 0 &&
                   std::all_of(merges.begin(), merges.end(), [this](const BytePairMerge& merge) {
                     const std::string& text = entries_[static_cast<size_t>(merge.merged)];
                     return word_end(text, 0) == text.size();
                   });
}

void BytePairEncoder::index_symbols() {
  byte_ids_.fill(-1);
  for (size_t id = 0; id < entries_.size(); ++id) {
    const std::string& entry = entries_[id];
    if (entry.empty()) continue;
    if (options_.symbols == Symbols::kBytes) {
      if (entry.size() == 1) byte_ids_[static_cast<uint8_t>(entry[0])] = static_cast<int32_t>(id);
      continue;
    }
    const auto [code, length] = unicode::decode(entry.data());
    if (length != entry.size()) continue;
    if (code >= character_ids_.size()) character_ids_.resize(code + 1, -1);
    character_ids_[code] = static_cast<int32_t>(id);
  }
}

/// Enters every entry that its own symbols merge into; the others (special tokens, entries no merge
/// leads to) are never the encoding of a piece, unless merges are ignored.
void BytePairEncoder::index_whole_pieces() {
  whole_.resize(std::bit_ceil(2 * entries_.size() + 2));
  std::vector<int32_t> ids;
  for (size_t id = 0; id < entries_.size(); ++id) {
    const std::string& entry = entries_[id];
    if (entry.empty()) continue;
    ids.clear();
    const bool expressible = append_symbols(entry, ids).empty();
    if (expressible) merges_.apply(ids, 0);
    const bool reached = expressible && ids == std::vector{static_cast<int32_t>(id)};
    num_reached_ += reached ? 1 : 0;
    if (!reached && !options_.ignore_merges) continue;
    const uint64_t hash = hash_of(entry);
    size_t slot = hash & (whole_.size() - 1);
    while (whole_[slot].id >= 0) slot = (slot + 1) & (whole_.size() - 1);
    whole_[slot] = {static_cast<uint32_t>(hash >> 32), static_cast<int32_t>(id)};
  }
}

void BytePairEncoder::append_piece(std::string_view piece, std::vector<int32_t>& ids) const {
  if (!cuts_at_words_) return append_word(piece, ids);
  for (size_t begin = 0; begin < piece.size();) {
    const size_t end = word_end(piece, begin);
    append_word(piece.substr(begin, end - begin), ids);
    begin = end;
  }
}

void BytePairEncoder::append_word(std::string_view word, std::vector<int32_t>& ids) const {
  if (word.empty() || is_found(word, ids)) return;
  const size_t from = ids.size();
  const std::string_view missing = append_symbols(word, ids);
  if (!missing.empty()) refuse(missing);
  merges_.apply(ids, from);
}

bool BytePairEncoder::is_found(std::string_view word, std::vector<int32_t>& ids) const {
  const uint64_t hash = hash_of(word);
  const auto tag = static_cast<uint32_t>(hash >> 32);
  size_t slot = hash & (whole_.size() - 1);
  for (; whole_[slot].id >= 0; slot = (slot + 1) & (whole_.size() - 1)) {
    if (whole_[slot].tag == tag && entries_[static_cast<size_t>(whole_[slot].id)] == word) {
      ids.push_back(whole_[slot].id);
      return true;
    }
  }
  return false;
}

std::string_view BytePairEncoder::append_symbols(std::string_view word,
                                                 std::vector<int32_t>& ids) const {
  const bool bytes = options_.symbols == Symbols::kBytes;
  bool pending = false;  // an unknown symbol is written when the next known one comes, as the
                         // package does: bytes of a fallback do not count
  for (size_t at = 0; at < word.size();) {
    const auto [code, length] = bytes ? unicode::Decoded{static_cast<uint8_t>(word[at]), 1}
                                      : unicode::decode(word.data() + at);
    const std::string_view symbol = word.substr(at, length);
    at += length;
    const int32_t id = bytes ? byte_ids_[code] : character_id(code);
    if (id >= 0) {
      if (pending) ids.push_back(*options_.unknown);
      pending = false;
      ids.push_back(id);
    } else if (!append_fallback(symbol, ids)) {
      if (!options_.unknown) return symbol;
      if (pending && !options_.fuse_unknown) ids.push_back(*options_.unknown);
      pending = true;
    }
  }
  if (pending) ids.push_back(*options_.unknown);
  return {};
}

bool BytePairEncoder::append_fallback(std::string_view symbol, std::vector<int32_t>& ids) const {
  if (options_.fallback_ids.empty()) return false;
  const auto id = [this](char byte) { return options_.fallback_ids[static_cast<uint8_t>(byte)]; };
  if (std::any_of(symbol.begin(), symbol.end(), [&](char byte) { return id(byte) < 0; })) {
    return false;
  }
  for (const char byte : symbol) ids.push_back(id(byte));
  return true;
}

void BytePairEncoder::refuse(std::string_view symbol) const {
  const std::string name =
      options_.symbols == Symbols::kBytes
          ? fmt::format("byte 0x{:02x}", static_cast<uint8_t>(symbol[0]))
          : fmt::format("character U+{:04X}",
                        static_cast<uint32_t>(unicode::decode(symbol.data()).code));
  throw UsageError(
      "{}: the vocabulary has no entry for the {}, so a text that holds it cannot be encoded",
      options_.source, name);
}

}  // namespace megalith

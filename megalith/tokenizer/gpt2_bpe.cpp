#include "megalith/tokenizer/gpt2_bpe.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "megalith/core/error.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

// Special tokens and the odd entry are not reached by merges; a twentieth of a vocabulary is.
constexpr int64_t kFewEntries = 16;

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

}  // namespace

Gpt2BpeTokenizer::Gpt2BpeTokenizer(const std::string& vocab_file, const std::string& merge_file)
    : vocab_file_(vocab_file),
      merge_file_(merge_file),
      vocabulary_(vocab_file),
      merges_(vocabulary_.read_merges(merge_file)),
      byte_ids_(vocabulary_.byte_ids()) {
  index_whole_pieces();
}

/// Enters every entry that its own bytes merge into; the others (special tokens, entries no merge
/// leads to) are never the encoding of a piece.
void Gpt2BpeTokenizer::index_whole_pieces() {
  whole_.resize(std::bit_ceil(static_cast<size_t>(2 * vocab_size())));
  std::vector<int32_t> ids;
  int64_t reached = 0;
  for (int32_t id = 0; id < vocab_size(); ++id) {
    const std::string& bytes = vocabulary_.bytes(id);
    ids.clear();
    for (const char byte : bytes) ids.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
    if (std::find(ids.begin(), ids.end(), -1) != ids.end()) continue;
    merges_.apply(ids, 0);
    if (ids != std::vector{id}) continue;
    ++reached;
    const uint64_t hash = hash_of(bytes);
    size_t slot = hash & (whole_.size() - 1);
    while (whole_[slot].id >= 0) slot = (slot + 1) & (whole_.size() - 1);
    whole_[slot] = {static_cast<uint32_t>(hash >> 32), id};
  }
  const int64_t unreached = vocab_size() - reached;
  if (unreached > kFewEntries + vocab_size() / 20) {
    throw UsageError(
        "--merge-file {}: no merge leads to {} of the {} entries of {}; the file was cut short, or "
        "belongs to another vocabulary",
        merge_file_, unreached, vocab_size(), vocab_file_);
  }
}

void Gpt2BpeTokenizer::append_ids(std::string_view text, std::vector<int32_t>& ids) const {
  std::string repaired;
  text = unicode::well_formed(text, repaired);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = splitter_.piece_end(text, begin);
    append_piece(text.substr(begin, end - begin), ids);
    begin = end;
  }
}

void Gpt2BpeTokenizer::append_piece(std::string_view piece, std::vector<int32_t>& ids) const {
  const uint64_t hash = hash_of(piece);
  const auto tag = static_cast<uint32_t>(hash >> 32);
  size_t slot = hash & (whole_.size() - 1);
  for (; whole_[slot].id >= 0; slot = (slot + 1) & (whole_.size() - 1)) {
    if (whole_[slot].tag == tag && vocabulary_.bytes(whole_[slot].id) == piece) {
      ids.push_back(whole_[slot].id);
      return;
    }
  }
  append_bytes(piece, ids);
}

void Gpt2BpeTokenizer::append_bytes(std::string_view piece, std::vector<int32_t>& ids) const {
  const size_t from = ids.size();
  for (const char byte : piece) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(byte)];
    if (id < 0) {
      throw UsageError(
          "{}: the vocabulary has no entry for the byte 0x{:02x}, so a text that "
          "holds it cannot be encoded",
          vocab_file_, static_cast<uint8_t>(byte));
    }
    ids.push_back(id);
  }
  merges_.apply(ids, from);
}

std::string Gpt2BpeTokenizer::decode_bytes(std::span<const int32_t> ids) const {
  std::string bytes;
  for (const int32_t id : ids) {
    check_id(id);
    bytes += vocabulary_.bytes(id);
  }
  return bytes;
}

nlohmann::ordered_json Gpt2BpeTokenizer::description() const {
  return {{"class", "megatron.core.tokenizers.text.text_tokenizer.MegatronTokenizerText"},
          {"tokenizer_path", name()},
          {"additional_special_tokens", "[]"},
          {"vocab_file", vocab_file_},
          {"merges_file", merge_file_},
          {"use_fast", "True"},
          {"trust_remote_code", "False"},
          {"include_special_tokens", "True"},
          {"use_gigatoken", "False"}};
}

}  // namespace megalith

#include "megalith/data/indexed_dataset.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <stdexcept>
#include <string_view>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

static_assert(std::endian::native == std::endian::little, "the files are little-endian");

constexpr std::string_view kMagic{"MMIDIDX\0\0", 9};
constexpr std::string_view kLegacyMagic{"TNTIDX\0\0", 8};
constexpr uint64_t kVersion = 1;
constexpr int64_t kSmallVocabulary = 65500;  // upstream's border; below it ids fit uint16

template <class T>
T load(std::span<const std::byte> bytes, int64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

/// Maps PREFIX + suffix, with a hint where the prefix was given with its ending.
MappedFile open_part(const std::string& prefix, const char* suffix) {
  const std::string path = prefix + suffix;
  std::error_code error;
  if (std::filesystem::exists(path, error)) return MappedFile(path);
  for (const char* ending : {".bin", ".idx"}) {
    if (prefix.ends_with(ending)) {
      throw UsageError("{}: not found; give the path without its ending: {}", path,
                       prefix.substr(0, prefix.size() - 4));
    }
  }
  if (std::filesystem::is_directory(prefix, error)) {
    throw UsageError("{}: is a folder; give a dataset in it by its path without .bin and .idx",
                     prefix);
  }
  for (const char* level : {"_text_document", "_text_sentence"}) {
    if (std::filesystem::exists(prefix + level + ".idx", error)) {
      throw UsageError("{}: not found; did you mean {}{}?", path, prefix, level);
    }
  }
  throw UsageError(
      "{}: not found; an indexed dataset is a pair PREFIX.bin and PREFIX.idx, as written by "
      "megalith preprocess",
      path);
}

template <class T>
void widen(const std::byte* from, std::span<int64_t> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    out[i] = static_cast<int64_t>(value);
  }
}

}  // namespace

std::span<const std::byte> index_magic() {
  return std::as_bytes(std::span(kMagic.data(), kMagic.size()));
}

int64_t token_size(TokenType type) {
  switch (type) {
    case TokenType::kUint8:
    case TokenType::kInt8:
      return 1;
    case TokenType::kInt16:
    case TokenType::kUint16:
      return 2;
    case TokenType::kInt32:
    case TokenType::kFloat32:
      return 4;
    case TokenType::kInt64:
    case TokenType::kFloat64:
      return 8;
  }
  throw std::logic_error(fmt::format("token type {}", static_cast<int>(type)));
}

const char* token_type_name(TokenType type) {
  constexpr std::array kNames = {"uint8", "int8",    "int16",   "int32",
                                 "int64", "float64", "float32", "uint16"};
  return kNames.at(static_cast<size_t>(type) - 1);
}

TokenType token_type_for_vocabulary(std::optional<int64_t> vocab_size) {
  return vocab_size && *vocab_size < kSmallVocabulary ? TokenType::kUint16 : TokenType::kInt32;
}

IndexedDataset::IndexedDataset(const std::string& prefix)
    : prefix_(prefix), index_(open_part(prefix, ".idx")), tokens_(open_part(prefix, ".bin")) {
  read_header();
  lay_out_arrays();
  check_ends();
}

void IndexedDataset::read_header() {
  const auto bytes = index_.bytes();
  const std::string& path = index_.path();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with(kLegacyMagic)) {
    throw UsageError(
        "{}: is in the format of before 2020 (starts with TNTIDX), which is not read; make it "
        "again "
        "from the text with megalith preprocess",
        path);
  }
  if (!text.starts_with(kMagic.substr(0, std::min(kMagic.size(), text.size())))) {
    throw UsageError("{}: is no index file: bytes 0 to 8 are {:02x}, expected {:02x} (MMIDIDX)",
                     path, fmt::join(bytes.first(std::min<size_t>(bytes.size(), 9)), " "),
                     fmt::join(index_magic(), " "));
  }
  if (index_.size() < IndexLayout::kLengthsOffset) {
    throw UsageError("{}: ends after {} bytes, inside its header of {}; the file was cut short",
                     path, index_.size(), IndexLayout::kLengthsOffset);
  }
  if (const auto version = load<uint64_t>(bytes, IndexLayout::kVersionOffset);
      version != kVersion) {
    throw UsageError("{}: version {} at offset {}; only version {} is known", path, version,
                     IndexLayout::kVersionOffset, kVersion);
  }
  const auto code = load<uint8_t>(bytes, IndexLayout::kTypeOffset);
  if (code < 1 || code > 8) {
    throw UsageError("{}: type code {} at offset {}; expected 1 to 8", path, code,
                     IndexLayout::kTypeOffset);
  }
  type_ = static_cast<TokenType>(code);
  if (type_ == TokenType::kFloat32 || type_ == TokenType::kFloat64) {
    throw UsageError("{}: type code {} at offset {} means {}, which are no token ids", path, code,
                     IndexLayout::kTypeOffset, token_type_name(type_));
  }
}

void IndexedDataset::lay_out_arrays() {
  const auto bytes = index_.bytes();
  const auto sequences = load<uint64_t>(bytes, IndexLayout::kNumSequencesOffset);
  const auto bounds = load<uint64_t>(bytes, IndexLayout::kNumBoundsOffset);
  const auto size = static_cast<uint64_t>(index_.size());
  if (sequences > size / 12) {
    throw UsageError(
        "{}: {} sequences at offset {}, but the file has only {} bytes; it was cut short or is "
        "damaged",
        index_.path(), sequences, IndexLayout::kNumSequencesOffset, size);
  }
  if (bounds < 1 || bounds > size / 8) {
    throw UsageError(
        "{}: a document array of {} entries at offset {}; expected at least 1 and no more than the "
        "file's {} bytes can hold",
        index_.path(), bounds, IndexLayout::kNumBoundsOffset, size);
  }
  const IndexLayout layout{static_cast<int64_t>(sequences), static_cast<int64_t>(bounds)};
  const int64_t plain = layout.modes_offset();
  const int64_t with_modes = plain + layout.num_sequences;
  if (index_.size() != plain && index_.size() != with_modes) {
    throw UsageError(
        "{}: has {} bytes, expected {} for {} sequences and {} document bounds (or {} with modes); "
        "the file was cut short or does not belong to this format",
        index_.path(), size, plain, sequences, bounds, with_modes);
  }
  lengths_.resize(static_cast<size_t>(sequences));
  if (sequences > 0) {
    std::memcpy(lengths_.data(), bytes.data() + IndexLayout::kLengthsOffset, 4 * lengths_.size());
  }
  pointers_ = {bytes.data() + layout.pointers_offset(), layout.num_sequences};
  documents_ = {bytes.data() + layout.documents_offset(), layout.num_bounds};
  if (index_.size() == with_modes) modes_ = {bytes.data() + plain, layout.num_sequences};
}

void IndexedDataset::check_ends() const {
  const IndexLayout layout{num_sequences(), documents_.size()};
  for (size_t i = 0; i < lengths_.size(); ++i) {
    if (lengths_[i] < 0) {
      throw UsageError("{}: sequence {} has length {} at offset {}; expected 0 or more",
                       index_.path(), i, lengths_[i], IndexLayout::kLengthsOffset + 4 * i);
    }
  }
  if (documents_[0] != 0) {
    throw UsageError("{}: the document array starts with {} at offset {}; expected 0",
                     index_.path(), documents_[0], layout.documents_offset());
  }
  if (documents_.back() != num_sequences()) {
    throw UsageError("{}: the document array ends with {} at offset {}; expected {}, the sequences",
                     index_.path(), documents_.back(), layout.modes_offset() - 8, num_sequences());
  }
  int64_t expected = 0;
  if (!lengths_.empty()) {
    if (pointers_[0] != 0) {
      throw UsageError("{}: the first sequence starts at byte {} (offset {}); expected 0",
                       index_.path(), pointers_[0], layout.pointers_offset());
    }
    const int64_t tail = lengths_.back() * token_size(type_);
    if (pointers_.back() < 0 || pointers_.back() > tokens_.size()) {
      throw UsageError(
          "{}: the last sequence starts at byte {} (offset {}), but {} has {} bytes; the two files "
          "do not belong together or one was cut short",
          index_.path(), pointers_.back(), layout.documents_offset() - 8, tokens_.path(),
          tokens_.size());
    }
    expected = pointers_.back() + tail;
  }
  if (tokens_.size() != expected) {
    throw UsageError(
        "{}: has {} bytes, but {} speaks of {}; the two files do not belong together or one was "
        "cut "
        "short",
        tokens_.path(), tokens_.size(), index_.path(), expected);
  }
}

int64_t IndexedDataset::document_of_sequence(int64_t sequence) const {
  // The last document whose first sequence is <= sequence: empty documents before it are passed
  // over.
  int64_t low = 0, high = num_documents() - 1;
  while (low < high) {
    const int64_t middle = low + (high - low + 1) / 2;
    if (documents_[middle] <= sequence) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

void IndexedDataset::check_readable(int64_t sequence, int64_t offset, int64_t count) const {
  if (sequence < 0 || sequence >= num_sequences()) {
    throw std::out_of_range(
        fmt::format("{}: sequence {} of {}", prefix_, sequence, num_sequences()));
  }
  const int64_t length = lengths_[static_cast<size_t>(sequence)];
  if (offset < 0 || offset > length || count > length - offset) {
    throw std::out_of_range(fmt::format("{}: ids {} to {} of sequence {}, which has {}", prefix_,
                                        offset, offset + count, sequence, length));
  }
  const int64_t size = token_size(type_);
  const int64_t start = pointers_[sequence];
  if (start < 0 || start > tokens_.size() - length * size) {
    throw UsageError(
        "{}: sequence {} is said to lie at bytes {} to {} of {}, which has {}; check the dataset "
        "with "
        "megalith data verify",
        index_.path(), sequence, start, start + length * size, tokens_.path(), tokens_.size());
  }
}

void IndexedDataset::read(int64_t sequence, int64_t offset, std::span<int64_t> out) const {
  check_readable(sequence, offset, static_cast<int64_t>(out.size()));
  read_bytes_at(pointers_[sequence] + offset * token_size(type_), out);
}

void IndexedDataset::read_bytes_at(int64_t position, std::span<int64_t> out) const {
  const int64_t size = token_size(type_);
  const auto count = static_cast<int64_t>(out.size());
  if (position < 0 || position > tokens_.size() || count > (tokens_.size() - position) / size) {
    throw std::out_of_range(fmt::format("{}: {} ids at byte {} of {}", tokens_.path(), count,
                                        position, tokens_.size()));
  }
  const std::byte* from = tokens_.bytes().data() + position;
  switch (type_) {
    case TokenType::kUint8:
      return widen<uint8_t>(from, out);
    case TokenType::kInt8:
      return widen<int8_t>(from, out);
    case TokenType::kInt16:
      return widen<int16_t>(from, out);
    case TokenType::kInt32:
      return widen<int32_t>(from, out);
    case TokenType::kInt64:
      return widen<int64_t>(from, out);
    case TokenType::kUint16:
      return widen<uint16_t>(from, out);
    case TokenType::kFloat32:
    case TokenType::kFloat64:
      break;
  }
  throw std::logic_error("float datasets are refused at opening");
}

std::vector<int64_t> IndexedDataset::read(int64_t sequence, int64_t offset, int64_t length) const {
  if (length < 0 && sequence >= 0 && sequence < num_sequences()) {
    length = lengths_[static_cast<size_t>(sequence)] - offset;
  }
  length = std::max<int64_t>(length, 0);
  check_readable(sequence, offset, length);  // before memory of a size that the file made up
  std::vector<int64_t> ids(static_cast<size_t>(length));
  read(sequence, offset, ids);
  return ids;
}

}  // namespace megalith

// Token ids on disk: PREFIX.bin (ids back to back) and PREFIX.idx (where each sequence and each
// document lies), as Megatron-LM reads and writes them; the layout is told in docs/data.md.
//
// Reading is memory-mapped and never changes a file; writing is indexed_dataset_writer.hpp,
// checking every byte is verify_indexed_dataset.hpp. Promise: a dataset that opened has a
// consistent header and consistent sizes, and read() never leaves the mapped bytes. All offsets and
// counts are 64-bit.
#pragma once

#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "megalith/core/mapped_file.hpp"

namespace megalith {

/// The number type of the ids, by its code in the index file.
enum class TokenType : uint8_t {
  kUint8 = 1,
  kInt8 = 2,
  kInt16 = 3,
  kInt32 = 4,
  kInt64 = 5,
  kFloat64 = 6,
  kFloat32 = 7,
  kUint16 = 8,
};

/// Bytes of one id.
int64_t token_size(TokenType type);
/// "uint16", "int32", ...
const char* token_type_name(TokenType type);
/// uint16 for a vocabulary of fewer than 65,500 entries, int32 for more or when it is unknown.
TokenType token_type_for_vocabulary(std::optional<int64_t> vocab_size);

/// Numbers that lie in a file at any byte offset, read one by one. Does not own the bytes.
template <class T>
class PackedArray {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = const T*;
    using reference = T;
    Iterator(const PackedArray* array, int64_t index) : array_(array), index_(index) {}
    T operator*() const { return (*array_)[index_]; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++index_;
      return before;
    }
    bool operator==(const Iterator& other) const { return index_ == other.index_; }

   private:
    const PackedArray* array_;
    int64_t index_;
  };

  PackedArray() = default;
  PackedArray(const std::byte* data, int64_t size) : data_(data), size_(size) {}

  int64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T operator[](int64_t index) const {
    T value;
    std::memcpy(&value, data_ + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
    return value;
  }
  T back() const { return (*this)[size_ - 1]; }
  Iterator begin() const { return {this, 0}; }
  Iterator end() const { return {this, size_}; }
  std::vector<T> to_vector() const { return {begin(), end()}; }

 private:
  const std::byte* data_ = nullptr;
  int64_t size_ = 0;
};

class IndexedDataset {
 public:
  /// Opens `prefix`.idx and `prefix`.bin and checks everything that costs no pass over the ids.
  /// Throws UsageError naming the file, the offset, the value seen and the value expected.
  explicit IndexedDataset(const std::string& prefix);

  const std::string& prefix() const { return prefix_; }
  const std::string& index_path() const { return index_.path(); }
  const std::string& token_path() const { return tokens_.path(); }
  TokenType token_type() const { return type_; }

  /// Documents of one sequence each for GPT, of one sequence a sentence for BERT.
  int64_t num_sequences() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t num_documents() const { return documents_.size() - 1; }
  int64_t num_tokens() const { return tokens_.size() / token_size(type_); }

  /// Tokens of each sequence (a copy of the file's array, which lies unaligned).
  std::span<const int32_t> sequence_lengths() const { return lengths_; }
  /// Byte offset of each sequence in the .bin file.
  const PackedArray<int64_t>& sequence_pointers() const { return pointers_; }
  /// First sequence of each document, and one entry more: document d holds the sequences
  /// [array[d], array[d + 1]).
  const PackedArray<int64_t>& document_array() const { return documents_; }
  /// One number a sequence in multimodal files, else empty.
  const PackedArray<int8_t>& sequence_modes() const { return modes_; }
  /// The document that holds a sequence.
  int64_t document_of_sequence(int64_t sequence) const;

  /// Copies out.size() ids of a sequence, from `offset` on, widened to 64 bits.
  /// Throws UsageError when the index points outside the .bin file, std::out_of_range when the
  /// caller asks for ids the sequence does not have.
  void read(int64_t sequence, int64_t offset, std::span<int64_t> out) const;
  /// The same for `length` ids (-1: all that follow).
  std::vector<int64_t> read(int64_t sequence, int64_t offset = 0, int64_t length = -1) const;
  /// `count` ids from byte `position` of the .bin file, whatever sequence they belong to.
  void read_bytes_at(int64_t position, std::span<int64_t> out) const;

  std::span<const std::byte> token_bytes() const { return tokens_.bytes(); }
  std::span<const std::byte> index_bytes() const { return index_.bytes(); }

 private:
  void read_header();
  void lay_out_arrays();
  void check_ends() const;
  void check_readable(int64_t sequence, int64_t offset, int64_t count) const;

  std::string prefix_;
  MappedFile index_, tokens_;
  TokenType type_ = TokenType::kInt32;

  std::vector<int32_t> lengths_;
  PackedArray<int64_t> pointers_, documents_;
  PackedArray<int8_t> modes_;
};

/// Byte offsets inside an index file, for messages and for writing.
struct IndexLayout {
  static constexpr int64_t kVersionOffset = 9;
  static constexpr int64_t kTypeOffset = 17;
  static constexpr int64_t kNumSequencesOffset = 18;
  static constexpr int64_t kNumBoundsOffset = 26;
  static constexpr int64_t kLengthsOffset = 34;
  int64_t num_sequences = 0;
  int64_t num_bounds = 0;  // documents + 1

  int64_t pointers_offset() const { return kLengthsOffset + 4 * num_sequences; }
  int64_t documents_offset() const { return kLengthsOffset + 12 * num_sequences; }
  int64_t modes_offset() const { return documents_offset() + 8 * num_bounds; }
};

/// The nine bytes an index file starts with.
std::span<const std::byte> index_magic();

}  // namespace megalith

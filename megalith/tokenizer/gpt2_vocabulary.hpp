// Reads the two files of a byte-level BPE vocabulary: vocab.json and merges.txt.
//
// Both write bytes as printable characters (a space is "Ġ"); here they are turned back into bytes.
// Checks everything a later surprise could come from: ids 0 to n-1 each once, merges of known parts
// into a known whole. Encoding is gpt2_bpe.hpp's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "megalith/tokenizer/byte_pair_merges.hpp"

namespace megalith {

class Gpt2Vocabulary {
 public:
  /// Throws UsageError naming the file and the entry at fault.
  explicit Gpt2Vocabulary(const std::string& path);

  int64_t size() const { return static_cast<int64_t>(bytes_.size()); }
  /// The bytes that `id` stands for.
  const std::string& bytes(int32_t id) const { return bytes_[static_cast<size_t>(id)]; }
  /// The bytes of every id; an entry with other characters stands for its own text.
  const std::vector<std::string>& entries() const { return bytes_; }
  /// The id of an entry as written in the file.
  std::optional<int32_t> find(std::string_view entry) const;

  /// The merges of `path`, in order. Throws UsageError naming file and line.
  std::vector<BytePairMerge> read_merges(const std::string& path) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::string path_;
  std::vector<std::string> bytes_;
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
};

}  // namespace megalith

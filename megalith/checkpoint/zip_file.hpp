// The entries of a zip container whose entries are stored as they are, which is how PyTorch writes
// its files. Compressed and encrypted entries are refused by name.
//
// Maps the file and trusts nothing: every offset and length is checked against the file, and an
// entry's checksum before its bytes are first used. Sizes beyond 4 GiB included. Format: PKWARE
// APPNOTE 6.3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "megalith/core/mapped_file.hpp"

namespace megalith {

class ZipFile {
 public:
  struct Entry {
    std::string name;
    uint32_t crc = 0;
    std::span<const std::byte> bytes;  // in the mapped file
  };

  static bool is_zip(const MappedFile& file);
  /// Throws UsageError naming the file and what is wrong with it.
  explicit ZipFile(std::shared_ptr<const MappedFile> file);

  const std::map<std::string, Entry>& entries() const { return entries_; }
  /// Null when there is no such entry.
  const Entry* find(const std::string& name) const;
  /// Throws UsageError when the entry's bytes do not have its checksum.
  void check(const Entry& entry) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, Entry> entries_;
};

}  // namespace megalith

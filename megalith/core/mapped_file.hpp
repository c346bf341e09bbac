// A file mapped read-only into memory.
//
// Holds no file descriptor after construction and is movable; the mapping ends with the object.
// An empty file maps to an empty span. Not for writing: see data/indexed_dataset.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace megalith {

class MappedFile {
 public:
  MappedFile() = default;
  /// Throws UsageError when the file cannot be opened or mapped.
  explicit MappedFile(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  int64_t size() const { return static_cast<int64_t>(size_); }
  const std::string& path() const { return path_; }
  /// Gives the memory of bytes of this file that were read back to the system; they can be read
  /// again.
  void release(std::span<const std::byte> bytes) const;

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace megalith

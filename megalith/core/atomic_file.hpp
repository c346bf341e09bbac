// Files that appear whole or not at all: written under a temporary name in the same folder, synced,
// then renamed. Destroyed without commit(), the temporary is removed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace megalith {

class AtomicFile {
 public:
  /// Opens `path` + ".tmp.<pid>.<n>" for writing. Throws UsageError when it cannot be created.
  explicit AtomicFile(std::string path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  /// Throws RunError on a failed write (disk full, quota). Buffered.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  int64_t size() const { return size_; }
  const std::string& temporary_path() const { return temporary_; }

  /// Flushes, syncs and closes, leaving the temporary name; for several files renamed together.
  void finish();
  /// finish(), then renames to the final name and syncs the folder.
  void commit();
  /// As commit() without waiting for the disk: for files whose bytes are checked when they are
  /// read.
  void publish();

 private:
  void write_all(std::span<const std::byte> bytes);
  void start_writeback();
  void flush();
  void close();
  void rename();
  std::string path_, temporary_;
  std::string buffer_;
  int fd_ = -1;
  int64_t size_ = 0;
  int64_t written_ = 0, handed_over_ = 0;  // to the system; and of that, to the disk
  bool committed_ = false;
};

/// Syncs a folder's entries to disk.
void sync_folder(const std::string& path);

/// Writes a whole file, which appears with all of `text` or not at all. Errors as AtomicFile's.
void write_text_file(const std::string& path, std::string_view text);

/// Reads a whole file. Throws UsageError naming the path.
std::string read_text_file(const std::string& path);

}  // namespace megalith

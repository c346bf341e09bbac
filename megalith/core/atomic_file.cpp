#include "megalith/core/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {
constexpr size_t kBufferBytes = 1 << 20;
// At a time. File systems take pages as large as a write: of 4 MB they are huge ones, which a
// virtual machine may have given back to its host, so that every first touch waits for that (twice
// the time).
constexpr size_t kWriteBytes = 1 << 20;
constexpr int64_t kWritebackBytes = 1 << 25;
}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  for (int attempt = 0; fd_ < 0; ++attempt) {
    temporary_ = fmt::format("{}.tmp.{}.{}", path_, ::getpid(), attempt);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd_ < 0 && errno != EEXIST) throw UsageError(system_error_text(path_, "create"));
  }
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!committed_) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  size_ += static_cast<int64_t>(bytes.size());
  if (buffer_.size() + bytes.size() < kBufferBytes) {
    buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return;
  }
  flush();
  write_all(bytes);  // large pieces as they are, without a copy
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void AtomicFile::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), std::min(bytes.size(), kWriteBytes));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw RunError(system_error_text(temporary_, "write"));
    bytes = bytes.subspan(static_cast<size_t>(n));
    written_ += n;
    start_writeback();
  }
}

void AtomicFile::start_writeback() {
  // The disk works while the rest is computed, so that the sync at the end has little to wait for.
  if (written_ - handed_over_ < kWritebackBytes) return;
  // Only a hint: where it fails, that sync writes all.
  ::sync_file_range(fd_, handed_over_, written_ - handed_over_, SYNC_FILE_RANGE_WRITE);
  handed_over_ = written_;
}

void AtomicFile::flush() {
  write_all(std::as_bytes(std::span(buffer_)));
  buffer_.clear();
}

void AtomicFile::finish() {
  if (fd_ < 0) return;
  flush();
  if (::fsync(fd_) != 0) throw RunError(system_error_text(temporary_, "sync to disk"));
  close();
}

void AtomicFile::close() {
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0) throw RunError(system_error_text(temporary_, "close"));
}

void AtomicFile::rename() {
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    throw RunError(system_error_text(path_, "rename into place"));
  }
  committed_ = true;
}

void AtomicFile::publish() {
  flush();
  close();
  rename();
}

void AtomicFile::commit() {
  finish();
  rename();
  const auto folder = std::filesystem::path(path_).parent_path();
  sync_folder(folder.empty() ? "." : folder.string());
}

void sync_folder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw RunError(system_error_text(path, "open"));
  // Some file systems refuse to sync folders; the rename is still atomic there.
  const bool failed = ::fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EBADF;
  const std::string text = failed ? system_error_text(path, "sync to disk") : "";
  ::close(fd);
  if (failed) throw RunError(text);
}

void write_text_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

std::string read_text_file(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) throw UsageError("{}: is a folder", path);
  std::ifstream in(path, std::ios::binary);
  if (!in) throw UsageError(system_error_text(path, "open"));
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace megalith

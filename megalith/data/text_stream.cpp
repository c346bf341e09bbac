#include "megalith/data/text_stream.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

constexpr size_t kBufferBytes = 1 << 18;
constexpr std::string_view kGzipMagic{"\x1f\x8b", 2};
constexpr std::string_view kZstdMagic{"\x28\xb5\x2f\xfd", 4};

/// The file as it lies on disk, a window at a time.
class RawFile {
 public:
  explicit RawFile(const std::string& path) : path_(path), buffer_(kBufferBytes) {
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) throw UsageError(system_error_text(path, "open"));
    ::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  RawFile(const RawFile&) = delete;
  RawFile& operator=(const RawFile&) = delete;
  ~RawFile() { ::close(fd_); }

  /// What was read and not yet taken; reads on until there are `wanted` bytes or the file ends.
  std::string_view window(size_t wanted = 1) {
    while (end_ - begin_ < wanted && !at_end_) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
      const ssize_t n = ::read(fd_, buffer_.data() + end_, buffer_.size() - end_);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw UsageError(system_error_text(path_, "read"));
      at_end_ = n == 0;
      end_ += static_cast<size_t>(n);
    }
    return {buffer_.data() + begin_, end_ - begin_};
  }
  void take(size_t count) {
    begin_ += count;
    position_ += static_cast<int64_t>(count);
  }
  int64_t position() const { return position_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  int64_t position_ = 0;
  bool at_end_ = false;
  int fd_ = -1;
};

class PlainStream : public TextStream {
 public:
  explicit PlainStream(std::unique_ptr<RawFile> file) : file_(std::move(file)) {}
  size_t read(std::span<char> out) override {
    const auto window = file_->window();
    const size_t n = std::min(window.size(), out.size());
    std::memcpy(out.data(), window.data(), n);
    file_->take(n);
    return n;
  }
  int64_t position() const override { return file_->position(); }

 private:
  std::unique_ptr<RawFile> file_;
};

class GzipStream : public TextStream {
 public:
  explicit GzipStream(std::unique_ptr<RawFile> file) : file_(std::move(file)) {
    constexpr int kGzipOnly = 16;  // added to the window bits: expect gzip's header and check sum
    if (::inflateInit2(&state_, MAX_WBITS + kGzipOnly) != Z_OK)
      throw RunError("zlib: out of memory");
  }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;
  ~GzipStream() override { ::inflateEnd(&state_); }

  size_t read(std::span<char> out) override {
    state_.next_out = reinterpret_cast<Bytef*>(out.data());
    state_.avail_out = static_cast<uInt>(out.size());
    while (state_.avail_out == out.size()) {
      const auto window = file_->window();
      if (window.empty()) {
        if (inside_)
          throw UsageError("{}: the gzip data end early; the file was cut short", file_->path());
        return 0;
      }
      if (!inside_) start_member(window);
      if (finished_) return 0;
      inflate_some(window);
    }
    return out.size() - state_.avail_out;
  }
  int64_t position() const override { return file_->position(); }

 private:
  /// Another member follows, or zero padding, which tape tools leave and gzip ignores.
  void start_member(std::string_view window) {
    if (window.front() == '\0' && file_->position() > 0) {
      finished_ = true;
      return;
    }
    ::inflateReset(&state_);
    inside_ = true;
  }

  void inflate_some(std::string_view window) {
    state_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(window.data()));
    state_.avail_in = static_cast<uInt>(window.size());
    const int result = ::inflate(&state_, Z_NO_FLUSH);
    file_->take(window.size() - state_.avail_in);
    if (result == Z_STREAM_END) {
      inside_ = false;
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      throw UsageError("{}: damaged gzip data near byte {}: {}", file_->path(), file_->position(),
                       state_.msg != nullptr ? state_.msg : "unknown reason");
    }
  }

  std::unique_ptr<RawFile> file_;
  z_stream state_{};
  bool inside_ = false, finished_ = false;
};

class ZstdStream : public TextStream {
 public:
  explicit ZstdStream(std::unique_ptr<RawFile> file)
      : file_(std::move(file)), state_(::ZSTD_createDStream()) {
    if (!state_) throw RunError("zstd: out of memory");
  }
  size_t read(std::span<char> out) override {
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    while (output.pos == 0) {
      const auto window = file_->window();
      if (window.empty() && !flushing_) {
        if (inside_)
          throw UsageError("{}: the zstd data end early; the file was cut short", file_->path());
        return 0;
      }
      ZSTD_inBuffer input{window.data(), window.size(), 0};
      const size_t result = ::ZSTD_decompressStream(state_.get(), &output, &input);
      file_->take(input.pos);
      if (::ZSTD_isError(result)) {
        throw UsageError("{}: damaged zstd data near byte {}: {}", file_->path(), file_->position(),
                         ::ZSTD_getErrorName(result));
      }
      inside_ = result != 0;
      flushing_ = inside_ && output.pos == output.size;
    }
    return output.pos;
  }
  int64_t position() const override { return file_->position(); }

 private:
  struct Free {
    void operator()(ZSTD_DStream* stream) const { ::ZSTD_freeDStream(stream); }
  };
  std::unique_ptr<RawFile> file_;
  std::unique_ptr<ZSTD_DStream, Free> state_;
  bool inside_ = false;    // between the first and the last byte of a frame
  bool flushing_ = false;  // the output was full, so the decoder may hold more
};

}  // namespace

std::unique_ptr<TextStream> open_text_stream(const std::string& path) {
  auto file = std::make_unique<RawFile>(path);
  const auto head = file->window(kZstdMagic.size());
  if (head.starts_with(kGzipMagic)) return std::make_unique<GzipStream>(std::move(file));
  if (head.starts_with(kZstdMagic)) return std::make_unique<ZstdStream>(std::move(file));
  return std::make_unique<PlainStream>(std::move(file));
}

}  // namespace megalith

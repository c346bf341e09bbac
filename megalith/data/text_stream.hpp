// The bytes of a text file, unpacked while they are read: plain, gzip or zstd, told by the first
// bytes of the file and not by its name.
//
// Buffers are fixed, whatever the size of the file. Several gzip members or zstd frames one after
// another are one text. A packed file that ends early is an error, never a shorter text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace megalith {

class TextStream {
 public:
  virtual ~TextStream() = default;
  /// Fills the front of `out` and returns how many bytes; 0 at the end.
  /// Throws UsageError naming the file when it cannot be read or unpacked.
  virtual size_t read(std::span<char> out) = 0;
  /// Bytes of the file itself that were taken so far, for progress.
  virtual int64_t position() const = 0;
};

/// Throws UsageError when the file cannot be opened.
std::unique_ptr<TextStream> open_text_stream(const std::string& path);

}  // namespace megalith

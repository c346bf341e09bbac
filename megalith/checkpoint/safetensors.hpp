// Files of named tensors in the safetensors format: eight bytes with the header's length, the
// header as JSON, then the tensors' bytes back to back.
//
// Reading maps the file and trusts nothing: the header is checked against the format and the file's
// size before any tensor is handed out, and what is wrong is named. Writing streams one tensor at a
// time. Knows no ranks and no slices: checkpoint.hpp gives names their meaning. Bytes go through
// unchanged, NaN payloads included. Format: github.com/huggingface/safetensors, README.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/mapped_file.hpp"

namespace megalith {

/// "F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8" or "BOOL".
std::string safetensors_dtype_name(at::ScalarType dtype);
/// The inverse; nothing for a name that is not in the list.
std::optional<at::ScalarType> safetensors_dtype(const std::string& name);

/// The same memory as integers of the same width, so that copies move bits.
at::Tensor as_bits(const at::Tensor& tensor);

struct SafetensorsEntry {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  // bytes, counted from the end of the header
};

using SafetensorsMetadata = std::map<std::string, std::string>;

class SafetensorsFile {
 public:
  /// Throws UsageError naming the file and what is wrong with it.
  explicit SafetensorsFile(const std::string& path);

  const std::string& path() const { return file_->path(); }
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // in file order
  const SafetensorsMetadata& metadata() const { return metadata_; }
  /// Null when there is no such tensor.
  const SafetensorsEntry* find(const std::string& name) const;
  /// The length field and the header.
  std::span<const std::byte> header_bytes() const;
  std::span<const std::byte> bytes(const SafetensorsEntry& entry) const;
  /// Gives the memory of bytes that were read back to the system; they can be read again.
  void release(const SafetensorsEntry& entry) const;
  /// A tensor on the CPU over the mapped bytes; it keeps the mapping alive and must not be written.
  at::Tensor tensor(const SafetensorsEntry& entry) const;
  /// The same by name. Throws UsageError when there is no such tensor.
  at::Tensor tensor(const std::string& name) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  int64_t data_start_ = 0;
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, size_t> index_;
  SafetensorsMetadata metadata_;
};

class SafetensorsWriter {
 public:
  /// Whether sums() will be asked for.
  enum class Sums { kTaken, kNone };
  /// Writes the header. Entries are put in file order (wide types first, so that every tensor is
  /// aligned; then by name) and given their offsets. Throws UsageError or RunError.
  SafetensorsWriter(const std::string& path, std::vector<SafetensorsEntry> entries,
                    const SafetensorsMetadata& metadata, Sums sums);

  /// In the order in which append() wants them.
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  /// SHA-256 of the length field and the header.
  const std::string& header_sha256() const { return header_sha256_; }
  /// Writes the next tensor, from any device and with any strides. With sums they are taken
  /// beside the writing, of this one and the next: a tensor and 64 MB more are in memory at most.
  void append(const at::Tensor& tensor);
  /// The SHA-256 of each tensor's bytes, in the order of entries(); when all were appended.
  const std::vector<std::string>& sums();
  /// Syncs and gives the file its name. Every entry must have been appended.
  void commit();
  int64_t size() const { return file_.size(); }

 private:
  void make_room(size_t bytes);
  void finish_oldest();

  AtomicFile file_;
  std::vector<SafetensorsEntry> entries_;
  std::string header_sha256_;
  bool takes_sums_;
  std::vector<std::string> sums_;
  size_t next_ = 0;
  /// Sums that are being taken, oldest first.
  struct Pending {
    size_t index;
    at::Tensor tensor;
    std::future<std::string> sum;
  };
  std::deque<Pending> pending_;
};

}  // namespace megalith

#include "megalith/data/indexed_dataset_writer.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <stdexcept>
#include <vector>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

constexpr size_t kChunkBytes = 1 << 16;
constexpr int64_t kMaxSequenceLength = std::numeric_limits<int32_t>::max();

std::string folder_of(const std::string& prefix) {
  const auto folder = std::filesystem::path(prefix).parent_path().string();
  const std::string place = folder.empty() ? "." : folder;
  std::error_code error;
  if (!std::filesystem::is_directory(place, error)) {
    throw UsageError("{}: there is no folder {}; make it first", prefix, place);
  }
  return place;
}

/// While it lives no other writer gives files their names in this folder. Where a file system knows
/// no locks, nothing is held.
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder)
      : fd_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    while (fd_ >= 0 && ::flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  int fd_;
};

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

template <class T, class Id>
void encode_as(std::span<const Id> ids, std::string& out, const std::string& prefix) {
  out.resize(ids.size() * sizeof(T));
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!std::in_range<T>(ids[i])) {
      throw RunError("{}: id {} does not fit the dataset's type ({} bytes an id)", prefix, ids[i],
                     sizeof(T));
    }
    const auto value = static_cast<T>(ids[i]);
    std::memcpy(out.data() + i * sizeof(T), &value, sizeof(T));
  }
}

/// Copies what is left of a spill file to the end of another file.
void copy_rest(SpillFile& from, AtomicFile& to) {
  std::vector<std::byte> chunk(kChunkBytes);
  from.rewind();
  while (const size_t n = from.read(chunk)) to.write(std::span(chunk).first(n));
}

}  // namespace

SpillFile::SpillFile(const std::string& folder) : folder_(folder) {
  std::string path = folder + "/.megalith-spill-XXXXXX";
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) throw UsageError(system_error_text(folder, "write in"));
  ::unlink(path.c_str());
  file_ = ::fdopen(fd, "w+b");
  if (file_ == nullptr) {
    ::close(fd);
    throw RunError(system_error_text(folder, "buffer a file in"));
  }
}

SpillFile::~SpillFile() {
  if (file_ != nullptr) std::fclose(file_);
}

void SpillFile::write(std::span<const std::byte> bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) {
    throw RunError(system_error_text(folder_, "write a temporary file in"));
  }
}

void SpillFile::rewind() {
  if (std::fflush(file_) != 0 || std::fseek(file_, 0, SEEK_SET) != 0) {
    throw RunError(system_error_text(folder_, "write a temporary file in"));
  }
}

size_t SpillFile::read(std::span<std::byte> bytes) {
  const size_t n = std::fread(bytes.data(), 1, bytes.size(), file_);
  if (std::ferror(file_) != 0)
    throw RunError(system_error_text(folder_, "read a temporary file in"));
  return n;
}

IndexedDatasetWriter::IndexedDatasetWriter(const std::string& prefix, TokenType type)
    : prefix_(prefix),
      type_(type),
      lengths_(folder_of(prefix)),
      bounds_(folder_of(prefix)),
      modes_(folder_of(prefix)) {
  if (type == TokenType::kFloat32 || type == TokenType::kFloat64) {
    throw std::logic_error("token ids are integers");
  }
  tokens_ = std::make_unique<AtomicFile>(prefix + ".bin");
  index_ = std::make_unique<AtomicFile>(prefix + ".idx");
  append_bound(0);
}

IndexedDatasetWriter::~IndexedDatasetWriter() = default;

template <class Id>
void IndexedDatasetWriter::append_ids(std::span<const Id> ids) {
  switch (type_) {
    case TokenType::kUint8:
      encode_as<uint8_t>(ids, encoded_, prefix_);
      break;
    case TokenType::kInt8:
      encode_as<int8_t>(ids, encoded_, prefix_);
      break;
    case TokenType::kInt16:
      encode_as<int16_t>(ids, encoded_, prefix_);
      break;
    case TokenType::kUint16:
      encode_as<uint16_t>(ids, encoded_, prefix_);
      break;
    case TokenType::kInt32:
      encode_as<int32_t>(ids, encoded_, prefix_);
      break;
    default:
      encode_as<int64_t>(ids, encoded_, prefix_);
      break;
  }
  append_length(static_cast<int64_t>(ids.size()));
  tokens_->write(encoded_);
}

void IndexedDatasetWriter::append_sequence(std::span<const int32_t> ids) { append_ids(ids); }
void IndexedDatasetWriter::append_sequence(std::span<const int64_t> ids) { append_ids(ids); }

void IndexedDatasetWriter::append_length(int64_t length) {
  if (length > kMaxSequenceLength) {
    throw RunError("{}: a sequence of {} ids; the format holds at most {}: cut the document",
                   prefix_, length, kMaxSequenceLength);
  }
  lengths_.write(bytes_of(static_cast<int32_t>(length)));
  ++num_sequences_;
}

void IndexedDatasetWriter::append_bound(int64_t bound) { bounds_.write(bytes_of(bound)); }

void IndexedDatasetWriter::set_mode(int8_t mode) {
  modes_.write(bytes_of(mode));
  ++num_modes_;
}

void IndexedDatasetWriter::end_document() {
  append_bound(num_sequences_);
  document_start_ = num_sequences_;
  ++num_documents_;
}

void IndexedDatasetWriter::append_dataset(const IndexedDataset& other) {
  if (other.token_type() != type_) {
    throw UsageError(
        "{}: holds {}, but {} is being written as {}; only datasets of one type can be "
        "joined",
        other.prefix(), token_type_name(other.token_type()), prefix_, token_type_name(type_));
  }
  const int64_t before = num_sequences_;
  for (auto rest = other.token_bytes(); !rest.empty();) {  // AtomicFile buffers what it is given
    const auto part = rest.first(std::min(rest.size(), kChunkBytes));
    tokens_->write(part);
    rest = rest.subspan(part.size());
  }
  for (const int32_t length : other.sequence_lengths()) append_length(length);
  for (const int8_t mode : other.sequence_modes()) set_mode(mode);
  const auto& bounds = other.document_array();
  for (int64_t i = 1; i < bounds.size(); ++i) append_bound(before + bounds[i]);
  num_documents_ += other.num_documents();
  document_start_ = num_sequences_;
}

void IndexedDatasetWriter::write_pointers() {
  std::vector<int32_t> lengths(kChunkBytes / 4);
  std::vector<int64_t> pointers;
  int64_t pointer = 0;
  lengths_.rewind();
  while (const size_t n = lengths_.read(std::as_writable_bytes(std::span(lengths)))) {
    pointers.clear();
    for (size_t i = 0; i < n / 4; ++i) {
      pointers.push_back(pointer);
      pointer += lengths[i] * token_size(type_);
    }
    index_->write(std::as_bytes(std::span(pointers)));
  }
}

void IndexedDatasetWriter::write_index() {
  constexpr uint64_t kVersion = 1;
  index_->write(index_magic());
  index_->write(bytes_of(kVersion));
  index_->write(bytes_of(static_cast<uint8_t>(type_)));
  index_->write(bytes_of(num_sequences_));
  index_->write(bytes_of(num_documents_ + 1));
  copy_rest(lengths_, *index_);
  write_pointers();
  copy_rest(bounds_, *index_);
  copy_rest(modes_, *index_);
}

void IndexedDatasetWriter::prepare() {
  if (prepared_) return;
  if (document_start_ != num_sequences_) {
    throw std::logic_error("the last document was not ended");
  }
  if (num_modes_ != 0 && num_modes_ != num_sequences_) {
    throw UsageError(
        "{}: {} of {} sequences have a mode; all datasets joined must have modes, or none", prefix_,
        num_modes_, num_sequences_);
  }
  write_index();
  tokens_->finish();
  index_->finish();
  prepared_ = true;
}

void IndexedDatasetWriter::commit() {
  prepare();
  // Of two runs with one prefix the last wins as a whole: its ids never stand beside the other's
  // index.
  const FolderLock lock(folder_of(prefix_));
  // An older index must not stand beside newer ids, not even between two renames.
  std::error_code error;
  std::filesystem::remove(prefix_ + ".idx", error);
  tokens_->commit();
  index_->commit();
}

}  // namespace megalith
